"""Random checkpoints of the released shapes, in the layout of the Hugging Face hub.

    python -m tests.bench.checkpoints e2b DIRECTORY [--small]

``e2b`` is the whole model (10 GB). ``26b`` has two of its decoder layers, a local and a global
one, and two of its vision tower's. ``--small`` makes a tenth of each, with all kinds of tensors.
"""

import argparse
import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np

from gemma4_mlx import demo
from gemma4_mlx.config import Gemma4Config
from gemma4_mlx.released import released_config
from gemma4_mlx.tensor_shapes import borrowed_shapes, tensor_shapes

# Tensors are cut from one piece of random numbers, each from another place.
PIECE = 32 * 2**20 + 977


def config(family: str, small: bool) -> dict[str, Any]:
    """config.json of a checkpoint that this script makes."""
    raw = released_config(family)
    text = raw["text_config"]
    if family == "26b":
        kinds = sorted(set(text["layer_types"]), reverse=True)
        text |= {"num_hidden_layers": 2, "layer_types": kinds}
        raw["vision_config"]["num_hidden_layers"] = 2
    if small:
        text |= {"vocab_size": 16384, "vocab_size_per_layer_input": 16384}
        raw["vocab_size"] = 16384  # where mlx-lm looks for it
        raw["vision_config"]["num_hidden_layers"] = 2
        if family == "e2b":
            layers = {"num_hidden_layers": 10, "num_kv_shared_layers": 5}
            text |= {**layers, "layer_types": text["layer_types"][:10]}
            raw["audio_config"]["num_hidden_layers"] = 2
        else:
            text |= {"num_experts": 16}
    return raw


def make(family: str, path: Path, small: bool) -> None:
    """Write the checkpoint, with the demo model's tokenizer."""
    raw = config(family, small)
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps(raw, indent=2))
    for file in Path(demo.__file__).parent.joinpath("checkpoint").iterdir():
        if file.name not in ("config.json", "model.safetensors"):
            shutil.copy(file, path)
    shapes = dict(hub_shapes(Gemma4Config.from_dict(raw)))
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        begin, end = end, end + 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    piece = mx.random.normal((PIECE,), key=mx.random.key(0)) * 0.02
    numbers = np.array(piece.astype(mx.bfloat16).view(mx.uint16))
    with (path / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        place = 0
        for shape in shapes.values():
            left = math.prod(shape)
            while left:
                taken = min(left, PIECE - place)
                file.write(numbers[place : place + taken])
                place, left = (place + taken) % PIECE, left - taken


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


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("family", choices=("e2b", "26b"))
    parser.add_argument("path", type=Path)
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args()
    make(options.family, options.path, options.small)
