"""Tiny vision towers in both released shapes, and batches of pictures of odd aspect ratios."""

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from gemma4_mlx.config import VisionConfig
from gemma4_mlx.vision import VisionTower
from tests.vision.tower_weights import copy_to_torch

SMALL = VisionConfig(
    hidden_size=48,
    intermediate_size=80,
    num_hidden_layers=3,
    num_attention_heads=3,
    num_key_value_heads=3,
    head_dim=16,
    rms_norm_eps=1e-6,
    rope_theta=100.0,
    patch_size=4,
    pooling_kernel_size=3,
    position_embedding_size=64,
    use_clipped_linears=True,
    standardize=False,
)
# Heads of 72 as in the released big tower: no power of two, and no fused kernel on Metal.
BIG = replace(
    SMALL,
    hidden_size=144,
    intermediate_size=100,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=2,
    head_dim=72,
    use_clipped_linears=False,
    standardize=True,
)
CONFIGS = {
    "small": SMALL,
    "big": BIG,
    "pool-2": replace(SMALL, pooling_kernel_size=2),
    "grouped-heads": replace(SMALL, num_attention_heads=4, num_key_value_heads=2),
}

Pictures = tuple[mx.array, mx.array]
MakePictures = Callable[..., Pictures]


def reference_tower(config: VisionConfig, tower: VisionTower) -> Any:
    """Build transformers' Gemma4VisionModel with the weights of ``tower``."""
    pytest.importorskip("torch", reason="the comparison with transformers needs torch")
    from transformers.models.gemma4.configuration_gemma4 import Gemma4VisionConfig
    from transformers.models.gemma4.modeling_gemma4 import Gemma4VisionModel

    fields = asdict(config)
    rope = {"rope_type": "axial", "rope_theta": fields.pop("rope_theta")}
    theirs = Gemma4VisionConfig(**fields, rope_parameters=rope, attn_implementation="eager")
    model = Gemma4VisionModel(theirs)
    copy_to_torch(tower, model)
    return model


def make_pictures(
    config: VisionConfig, grids: list[tuple[int, int]], length: int, seed: int = 0
) -> Pictures:
    """Pixels (N, length, 3·patch²) and positions of grids whose sides are given in tokens.

    Padding pixels are random: they must not matter.
    """
    draw = np.random.RandomState(seed)
    pixels = draw.rand(len(grids), length, 3 * config.patch_size**2).astype(np.float32)
    positions = np.full((len(grids), length, 2), -1, dtype=np.int32)
    for row, (wide, high) in zip(positions, grids, strict=True):
        x, y = np.meshgrid(
            np.arange(wide * config.pooling_kernel_size),
            np.arange(high * config.pooling_kernel_size),
        )
        row[: x.size] = np.stack([x.ravel(), y.ravel()], axis=-1)
    return mx.array(pixels), mx.array(positions)
