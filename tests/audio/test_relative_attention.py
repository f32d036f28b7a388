"""The distance term lands on the right key, and attention equals transformers'."""

from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from gemma4_mlx.audio import AudioTower
from gemma4_mlx.audio.blocks import LocalBlocks
from gemma4_mlx.audio.relative_attention import align_distances, distance_sinusoids
from gemma4_mlx.config import AudioConfig
from tests.audio.tiny_towers import FRAMES, to_torch
from tests.vision.tower_weights import largest_difference


def test_scores_by_distance_move_to_their_keys() -> None:
    scores = mx.array([[5, 4, 3], [8, 7, 6]])  # two queries, distances 2, 1, 0
    assert align_distances(scores, context=4).tolist() == [[5, 4, 3, 0], [0, 8, 7, 6]]


def test_sinusoids_run_from_far_to_near() -> None:
    table = np.array(distance_sinusoids(LocalBlocks(12, 12, 0), hidden_size=8))
    assert table.shape == (13, 8)
    np.testing.assert_allclose(table[-1], [0, 0, 0, 0, 1, 1, 1, 1])
    np.testing.assert_allclose(table[0, [0, 4]], [np.sin(12), np.cos(12)], atol=1e-6)
    np.testing.assert_allclose(table[-2, 3], 1e-4, rtol=1e-4)  # the longest timescale is 10,000


def test_equals_transformers(config: AudioConfig, tower: AudioTower, reference: Any) -> None:
    torch = pytest.importorskip("torch", reason="the comparison with transformers needs torch")
    frames = -(-max(FRAMES) // 4)
    x = mx.random.normal((len(FRAMES), frames, config.hidden_size))
    valid = mx.arange(frames) < mx.array([-(-count // 4) for count in FRAMES])[:, None]
    blocks = LocalBlocks.from_config(config)
    mask = blocks.mask(valid)
    sinusoids = distance_sinusoids(blocks, config.hidden_size)
    ours = tower.layers[1].self_attn(x, sinusoids, mask)

    theirs_x, hidden = to_torch(x, ~mask)
    with torch.no_grad():
        positions = reference.rel_pos_enc(theirs_x)
        theirs, _ = reference.layers[1].self_attn(theirs_x, positions, hidden)
    assert largest_difference([sinusoids], [positions[0]]) <= 1e-5
    assert largest_difference([ours], [theirs]) <= 1e-4
