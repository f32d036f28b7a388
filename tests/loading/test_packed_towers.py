"""Towers and projectors that somebody packed: ours computes with them as with plain weights.

mlx-vlm's own conversions keep the towers; other people's, and our recipes, may not.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest

from gemma4_mlx import load_model
from tests import goldens
from tests.reference import ours
from tests.reference.checkpoints import edit_json

Edited = Callable[[str, Callable[[dict[str, mx.array]], None]], Path]

MODES = {
    "4 bits": {"group_size": 32, "bits": 4, "mode": "affine"},
    "8 bits": {"group_size": 32, "bits": 8, "mode": "affine"},
    "mxfp4": {"group_size": 32, "bits": 4, "mode": "mxfp4"},
    "nvfp4": {"group_size": 16, "bits": 4, "mode": "nvfp4"},
    "mxfp8": {"group_size": 32, "bits": 8, "mode": "mxfp8"},
}
PARTS = {
    "vision attention": r"vision_tower.*_proj\.linear\.weight$",
    "patches": r"patch_embedder\.input_proj\.weight$",
    "vision projector": r"embed_vision\.embedding_projection\.weight$",
    "conformer": r"audio_tower\.layers.*\.linear\.weight$",
    "relative positions": r"relative_k_proj\.weight$",
    "audio ends": r"audio_tower\.(output_proj|subsample\w+\.input_proj_linear)\.weight$",
}


def pack(weights: dict[str, mx.array], pattern: str, how: dict[str, Any], plain: bool) -> list[str]:
    """Pack the matrices whose name and width fit; ``plain`` unpacks them again. Returns modules."""
    modules = []
    for name, weight in list(weights.items()):
        weights[name] = weight = weight.astype(mx.float32)
        if re.search(pattern, name) and weight.shape[-1] % how["group_size"] == 0:
            parts = mx.quantize(weight, **how)
            modules.append(name.removesuffix(".weight"))
            if plain:
                weights[name] = mx.dequantize(*parts, **how, dtype=mx.float32)
            else:
                names = (f"{modules[-1]}.{part}" for part in ("weight", "scales", "biases"))
                weights.update(zip(names, parts, strict=False))
    return modules


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("part", PARTS)
def test_packed_is_as_unpacked(part: str, mode: str, edited: Edited) -> None:
    how, modules = MODES[mode], []
    plain = edited("e2b", lambda weights: modules.extend(pack(weights, PARTS[part], how, True)))
    inputs = goldens.inputs("e2b", "mixed")  # pictures, a video and recordings
    expected = ours.logits(load_model(plain), inputs)

    packed = edited("e2b", lambda weights: modules.extend(pack(weights, PARTS[part], how, False)))
    overrides = {name.removeprefix("model."): how for name in modules}
    default = {"group_size": 64, "bits": 2, "mode": "affine"}  # nothing is packed like this
    edit_json(packed / "config.json", quantization={**default, **overrides})
    model = load_model(packed)
    named = dict(model.named_modules())
    assert modules
    assert all(isinstance(named[name], nn.QuantizedLinear) for name in overrides)
    found = ours.logits(model, inputs)
    assert ours.difference(found, expected) <= 1e-3
    assert not np.allclose(found, goldens.logits("e2b", "mixed"), atol=1e-3), "nothing was packed"
