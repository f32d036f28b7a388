"""The decoder's rotary embeddings, against their formula written out in NumPy."""

import mlx.core as mx
import numpy as np
import pytest

from gemma4_mlx.config import RopeConfig
from gemma4_mlx.nn.rope import RoPE

LOCAL = RopeConfig(theta=10_000.0)
GLOBAL = RopeConfig(theta=1_000_000.0, partial_rotary_factor=0.25)


def turned(x: np.ndarray, config: RopeConfig, offset: int) -> np.ndarray:
    """x (L, D) in float64: pairs (i, i + D/2), the first share of them turning."""
    length, head_dim = x.shape
    pairs = head_dim // 2
    turning = int(config.partial_rotary_factor * head_dim) // 2
    frequencies = np.where(
        np.arange(pairs) < turning, config.theta ** (-2.0 * np.arange(pairs) / head_dim), 0.0
    )
    angles = np.arange(offset, offset + length)[:, None] * frequencies
    first, second = x[:, :pairs], x[:, pairs:]
    return np.concatenate(
        [
            first * np.cos(angles) - second * np.sin(angles),
            second * np.cos(angles) + first * np.sin(angles),
        ],
        axis=1,
    )


@pytest.mark.parametrize("config", [LOCAL, GLOBAL], ids=["local", "global"])
@pytest.mark.parametrize("head_dim", [32, 512])
def test_turns_by_the_formula(config: RopeConfig, head_dim: int) -> None:
    x = np.random.default_rng(0).normal(size=(5, head_dim))
    found = RoPE(head_dim, config)(mx.array(x[None, None].astype(np.float32)), offset=37)
    assert np.abs(np.array(found[0, 0]) - turned(x, config, 37)).max() < 2e-5


def test_global_layers_turn_a_quarter_of_the_pairs_and_pair_across_the_whole_head() -> None:
    rope = RoPE(512, GLOBAL)
    moved = np.array(rope(mx.ones((1, 1, 1, 512)), offset=3))[0, 0, 0] != 1.0
    assert np.flatnonzero(moved[:256]).max() == 63
    assert (moved[:256] == moved[256:]).all()


def test_one_token_at_a_time_equals_all_at_once() -> None:
    rope = RoPE(32, GLOBAL)
    x = mx.random.normal((1, 2, 6, 32))
    steps = [rope(x[:, :, i : i + 1], offset=10 + i) for i in range(6)]
    assert mx.abs(mx.concatenate(steps, axis=2) - rope(x, offset=10)).max().item() < 1e-5
