"""The vision transformer, and what padding the heads with zeros must not change."""

from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from gemma4_mlx.config import VisionConfig
from gemma4_mlx.vision import VisionTower
from gemma4_mlx.vision.encoder import attend
from tests.vision.tiny_towers import MakePictures
from tests.vision.tower_weights import largest_difference

GRIDS = [(2, 1), (1, 3), (3, 2)]


def test_equals_transformers(
    config: VisionConfig, tower: VisionTower, reference: Any, pictures: MakePictures
) -> None:
    torch = pytest.importorskip("torch", reason="the comparison with transformers needs torch")
    _, positions = pictures(GRIDS, 72)
    x = mx.random.normal((3, 72, config.hidden_size))
    valid = np.array(positions)[..., 0] >= 0
    with torch.no_grad():
        theirs = reference.encoder(
            inputs_embeds=torch.tensor(np.array(x)),
            attention_mask=torch.tensor(valid),
            pixel_position_ids=torch.tensor(np.array(positions)).long(),
        ).last_hidden_state
    ours = np.array(tower.encoder(x, positions, mx.array(valid)))
    assert largest_difference([ours[valid]], [theirs.numpy()[valid]]) <= 1e-4


def test_zeros_in_the_heads_change_nothing() -> None:
    q, k, v = mx.random.normal((3, 2, 4, 10, 72))
    mask = mx.arange(10)[None, None, None, :] < mx.array([10, 7])[:, None, None, None]
    plain = attend(q, k, v, mask, width=72)
    padded = attend(q, k, v, mask, width=80)
    assert padded.shape == plain.shape
    assert mx.abs(plain - padded).max().item() <= 1e-5
