"""One conformer layer and its parts against transformers."""

from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from gemma4_mlx.audio import AudioTower
from gemma4_mlx.audio.blocks import LocalBlocks
from gemma4_mlx.audio.conformer import LightConv, limit
from gemma4_mlx.audio.relative_attention import distance_sinusoids
from gemma4_mlx.config import AudioConfig
from tests.audio.tiny_towers import RELEASED, to_torch
from tests.vision.tower_weights import largest_difference, randomize


@pytest.mark.parametrize("part", ["feed_forward1", "lconv1d"])
def test_parts_equal_transformers(
    config: AudioConfig, tower: AudioTower, reference: Any, part: str
) -> None:
    torch = pytest.importorskip("torch", reason="the comparison with transformers needs torch")
    x = 2 * mx.random.normal((2, 7, config.hidden_size))
    with torch.no_grad():
        theirs = getattr(reference.layers[0], part)(*to_torch(x))
    ours = getattr(tower.layers[0], part)(x)
    assert largest_difference([ours], [theirs]) <= 1e-5


def test_layer_equals_transformers(config: AudioConfig, tower: AudioTower, reference: Any) -> None:
    torch = pytest.importorskip("torch", reason="the comparison with transformers needs torch")
    x = 2 * mx.random.normal((2, 30, config.hidden_size))
    blocks = LocalBlocks.from_config(config)
    mask = blocks.mask(mx.arange(30) < mx.array([30, 13])[:, None])
    sinusoids = distance_sinusoids(blocks, config.hidden_size)
    ours = tower.layers[0](x, sinusoids, mask)
    with torch.no_grad():
        theirs_x, hidden, positions = to_torch(x, ~mask, sinusoids)
        theirs = reference.layers[0](theirs_x, hidden, positions)
    assert largest_difference([ours], [theirs]) <= 1e-4


def test_light_convolution_looks_backwards_only() -> None:
    conv = LightConv(RELEASED)
    randomize(conv)
    x = mx.random.normal((1, 20, RELEASED.hidden_size))
    changed = x + (mx.arange(20) == 10)[None, :, None]
    moved = np.abs(np.array(conv(changed) - conv(x))).max(axis=(0, 2)) > 1e-4
    assert np.flatnonzero(moved).tolist() == [10, 11, 12, 13, 14]  # a kernel of 5 frames


def test_bound_fits_the_dtype() -> None:
    x = mx.array([-5.0, 1.0, 5.0])
    assert limit(x, 2.0).tolist() == [-2.0, 1.0, 2.0]
    infinite = mx.array([-float("inf"), float("inf")], dtype=mx.float16)
    assert limit(infinite, 1e10).tolist() == [-65504.0, 65504.0]
    assert limit(x.astype(mx.bfloat16), 1e10).dtype == mx.bfloat16
