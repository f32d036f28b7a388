"""Checkpoints and samples for the report's tests, and logits from what it computes."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten

from gemma4_convert.groups import NAMES
from gemma4_convert.policy import Quantization
from gemma4_convert.recipe import Recipe
from gemma4_convert.report.hidden_states import SideBySide
from gemma4_convert.report.samples import Sample
from gemma4_convert.report.variants import Variant
from gemma4_mlx.config import Gemma4Config
from gemma4_mlx.loading.rename import in_our_layout, module_path
from gemma4_mlx.model import Gemma4Model
from gemma4_mlx.text.decoder import soft_cap
from tests import goldens
from tests.reference.checkpoints import read_weights
from tests.reference.ours import to_mlx

TABLE = "language_model.embed_tokens_per_layer.weight"


def silent(message: str, done: int, total: int) -> None:
    """Progress that nobody hears of."""


def every_group(bits: int, group_size: int = 32) -> Recipe:
    """All groups alike, the towers too."""
    groups = dict.fromkeys(NAMES, Quantization(bits, group_size))
    return Recipe(f"{bits}bit", "every group alike", groups)


def sample(family: str, case: str, kind: str = "text") -> Sample:
    """The inputs of a golden, every token of which counts."""
    return Sample(kind, to_mlx(goldens.inputs(family, case)), first=0)


def variant_logits(variants: Mapping[str, Variant], it: Sample) -> dict[str, np.ndarray]:
    """The logits (L − 1, V) of each variant that can differ from the source in the sample."""
    models = {name: variant.model for name, variant in variants.items()}
    cap = models["source"].config.text.final_logit_softcapping
    states = SideBySide(models, [it]).run(silent)
    found = {}
    for name, hidden in states.items():
        if hidden:
            table = variants[name].table
            found[name] = np.array(soft_cap(hidden[0] @ table.block(0, table.height).T, cap))
    return found


def in_our_names(path: Path) -> dict[str, mx.array]:
    """Every tensor of a golden checkpoint, under our paths and in our layouts."""
    tensors: dict[str, mx.array] = {}
    for name, tensor in mx.load(str(path / "model.safetensors")).items():
        tensors |= in_our_layout(module_path(name), tensor)
    return tensors


def unpacked(path: Path, packing: Quantization) -> dict[str, mx.array]:
    """Every tensor of a conversion under our paths, what is packed as the float32 it stands for."""
    tensors = {module_path(name): tensor for name, tensor in read_weights(path).items()}
    plain = {}
    for name, tensor in tensors.items():
        base, _, part = name.rpartition(".")
        if f"{base}.scales" not in tensors:
            plain[name] = tensor
        elif part == "weight":
            scales, biases = (
                tensors[f"{base}.{part}"].astype(mx.float32) for part in ("scales", "biases")
            )
            plain[name] = mx.dequantize(tensor, scales, biases, packing.group_size, packing.bits)
    return plain


def write_random(folder: Path, raw: dict[str, Any]) -> Path:
    """A checkpoint of this config with random weights in bfloat16."""
    folder.mkdir(parents=True, exist_ok=True)
    config = Gemma4Config.from_dict(raw)
    tensors: dict[str, mx.array] = dict(tree_flatten(Gemma4Model(config).parameters()))
    if config.text.hidden_size_per_layer_input:
        width = config.text.num_hidden_layers * config.text.hidden_size_per_layer_input
        tensors[TABLE] = mx.zeros((config.text.vocab_size_per_layer_input, width))
    for name, tensor in tensors.items():
        if tensor.ndim >= 2:
            tensor = mx.random.normal(tensor.shape) * tensor.shape[-1] ** -0.5
        tensors[name] = tensor.astype(mx.bfloat16)
    mx.eval(tensors)
    mx.save_safetensors(str(folder / "model.safetensors"), tensors, metadata={"format": "mlx"})
    (folder / "config.json").write_text(json.dumps(raw))
    return folder
