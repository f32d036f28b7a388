"""Random checkpoints of the released shapes, in the layout of the Hugging Face hub.

    python -m tests.bench.checkpoints e2b DIRECTORY [--scale small] [--dtype float32] [--text-only]

``full`` is the whole model for E2B (10 GB) and E4B (16 GB); of the 26B and the 31B it has two
decoder layers, a local and a global one, at their real width, and two of the vision tower's.
``small`` makes a tenth of each, with all kinds of tensors. Of a long prompt the last layer that
keeps keys and values computes little else; in ``small`` that is the only global one, in ``tall``
there is a local one after it. ``narrow`` has every decoder layer of
the release but a hidden size of 128, so that what a step costs the host is seen and not what it
computes; its vision tower is tiny and it has no audio tower, as with ``--text-only``: mlx-vlm opens
no file without a vision tower.
"""

import argparse
import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args

import mlx.core as mx
import numpy as np

from gemma4_mlx import demo
from gemma4_mlx.config import Gemma4Config
from gemma4_mlx.released import RELEASED, released_config
from gemma4_mlx.tensor_shapes import borrowed_shapes, tensor_shapes

Scale = Literal["full", "small", "tall", "narrow"]
SCALES: tuple[Scale, ...] = get_args(Scale)
DTYPES = ("bfloat16", "float32")

_DEMO = Path(demo.__file__).parent / "checkpoint"

# Tensors are cut from one piece of random numbers, each from another place.
PIECE = 32 * 2**20 + 977
SMALL_VOCABULARY = 16384

# Heads keep their size, which decides how the cache is laid out; there are two, sharing one of
# keys and values. The rest divides by groups of 64.
_NARROW_TEXT = {
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "vocab_size": 4096,
    "vocab_size_per_layer_input": 4096,
}
_NARROW_FAMILY: dict[str, dict[str, int]] = {
    "e2b": {"hidden_size_per_layer_input": 64},
    "e4b": {"hidden_size_per_layer_input": 64},
    "26b": {"num_global_key_value_heads": 1, "num_experts": 16, "moe_intermediate_size": 64},
    "31b": {"num_global_key_value_heads": 1},
}
_NARROW_VISION = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "head_dim": 16,
    "global_head_dim": 16,
    "position_embedding_size": 64,
}


def config(family: str, scale: Scale, *, towers: bool = True, **changes: Any) -> dict[str, Any]:
    """config.json of a checkpoint that this script makes, with ``changes`` to its decoder."""
    raw = released_config(family)
    text = raw["text_config"]
    if scale == "narrow":
        text |= _NARROW_TEXT | _NARROW_FAMILY[family]
        towers = False
    elif family in ("26b", "31b"):
        kinds = sorted(set(text["layer_types"]), reverse=True)
        text |= {"num_hidden_layers": 2, "layer_types": kinds}
        raw["vision_config"]["num_hidden_layers"] = 2
        if scale == "tall":
            text |= {"num_hidden_layers": 3, "layer_types": [*kinds, kinds[0]]}
    if scale in ("small", "tall"):
        text |= {"vocab_size": SMALL_VOCABULARY, "vocab_size_per_layer_input": SMALL_VOCABULARY}
        raw["vision_config"]["num_hidden_layers"] = 2
        if family in ("e2b", "e4b"):
            layers = {"num_hidden_layers": 10 if family == "e2b" else 12, "num_kv_shared_layers": 5}
            layers["num_kv_shared_layers"] -= scale == "tall"
            text |= {**layers, "layer_types": text["layer_types"][: layers["num_hidden_layers"]]}
            raw["audio_config"]["num_hidden_layers"] = 2
        elif family == "26b":
            text |= {"num_experts": 16}
    if not towers:
        raw["vision_config"] |= _NARROW_VISION
        raw["audio_config"] = None
    text |= changes
    raw["vocab_size"] = text["vocab_size"]  # where mlx-lm looks for it
    if scale != "full":
        # The released ids of placeholders lie beyond the vocabulary; the tokenizer's are these.
        tokens = json.loads((_DEMO / "config.json").read_text())
        raw |= {name: value for name, value in tokens.items() if "_token_i" in name}
    return raw


def make(
    family: str,
    path: Path,
    scale: Scale,
    dtype: str = "bfloat16",
    *,
    towers: bool = True,
    **changes: Any,
) -> None:
    """Write the checkpoint, with the demo model's tokenizer; ``changes`` are to its decoder."""
    write(config(family, scale, towers=towers, **changes), path, dtype)


def write(raw: dict[str, Any], path: Path, dtype: str = "bfloat16") -> None:
    """Write the checkpoint of a config.json, with the demo model's tokenizer."""
    raw["dtype"] = raw["text_config"]["dtype"] = dtype
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps(raw, indent=2))
    for file in _DEMO.iterdir():
        if file.name not in ("config.json", "model.safetensors"):
            shutil.copy(file, path)
    shapes = dict(hub_shapes(Gemma4Config.from_dict(raw)))
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    itemsize = 4 if dtype == "float32" else 2
    end = 0
    for name, shape in shapes.items():
        begin, end = end, end + itemsize * math.prod(shape)
        header[name] = {
            "dtype": "F32" if dtype == "float32" else "BF16",
            "shape": shape,
            "data_offsets": [begin, end],
        }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    numbers = _numbers(raw["text_config"]["hidden_size"] ** -0.5, dtype)
    ones = _stored(mx.ones((max(map(_vector_length, shapes.values())),)), dtype)
    with (path / "model.safetensors").open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        place = 0
        for shape in shapes.values():
            # Norms and scalars of one: a stream that shrinks from layer to layer ends in numbers
            # that a processor takes many times longer for.
            if len(shape) < 2:
                stream.write(ones[: _vector_length(shape)].data)
                continue
            left = math.prod(shape)
            while left:
                taken = min(left, PIECE - place)
                stream.write(numbers[place : place + taken].data)
                place, left = (place + taken) % PIECE, left - taken


def _vector_length(shape: tuple[int, ...]) -> int:
    return math.prod(shape) if len(shape) < 2 else 0


def hub_shapes(config: Gemma4Config) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes as Google's files have them, unused keys and values included."""
    for path, shape in (tensor_shapes(config) | borrowed_shapes(config)).items():
        name = f"model.{path}"
        if "experts.switch_glu.gate_proj" in path:
            experts, rows, width = shape
            yield name.replace("switch_glu.gate_proj.weight", "gate_up_proj"), (
                experts, 2 * rows, width,
            )  # fmt: skip
        elif "experts.switch_glu.down_proj" in path:
            yield name.replace("switch_glu.down_proj.weight", "down_proj"), shape
        elif "experts.switch_glu.up_proj" in path:
            continue
        elif "conv" in path and len(shape) > 2:
            yield name, (shape[0], shape[-1], *shape[1:-1])
        else:
            yield name, shape


def _numbers(deviation: float, dtype: str) -> np.ndarray:
    """Normally distributed, as they are stored: NumPy has no bfloat16, so its bits in uint16."""
    piece = mx.random.normal((PIECE,), key=mx.random.key(0)) * deviation
    return _stored(piece, dtype)


def _stored(numbers: mx.array, dtype: str) -> np.ndarray:
    if dtype == "float32":
        return np.array(numbers.astype(mx.float32))
    return np.array(numbers.astype(mx.bfloat16).view(mx.uint16))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("family", choices=RELEASED)
    parser.add_argument("path", type=Path)
    parser.add_argument("--scale", choices=SCALES, default="full")
    parser.add_argument("--dtype", choices=DTYPES, default="bfloat16")
    parser.add_argument("--text-only", action="store_true", help="a tiny vision tower alone")
    options = parser.parse_args()
    make(options.family, options.path, options.scale, options.dtype, towers=not options.text_only)
