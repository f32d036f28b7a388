"""Patches are stretched to [−1, 1], projected, and given the positions of their column and row."""

from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from gemma4_mlx.vision import VisionTower
from gemma4_mlx.vision.patch_embedder import PatchEmbedder
from tests.vision.tiny_towers import SMALL, MakePictures
from tests.vision.tower_weights import largest_difference

GRIDS = [(2, 1), (1, 3), (3, 2)]


def test_equals_transformers(tower: VisionTower, reference: Any, pictures: MakePictures) -> None:
    torch = pytest.importorskip("torch", reason="the comparison with transformers needs torch")
    pixels, positions = pictures(GRIDS, 72)
    theirs_positions = torch.tensor(np.array(positions)).long()
    with torch.no_grad():
        theirs = reference.patch_embedder(
            torch.tensor(np.array(pixels)),
            theirs_positions,
            (theirs_positions == -1).all(dim=-1),
        )
    ours: mx.array = tower.patch_embedder(pixels, positions)
    assert largest_difference([ours], [theirs]) <= 1e-5


def test_grey_pixels_leave_the_positions_alone() -> None:
    embedder = PatchEmbedder(SMALL)
    table = mx.zeros((2, 64, 48))
    table[0, 3], table[1, 5] = 1.0, 10.0
    embedder.position_embedding_table = table
    grey = mx.full((1, 3, 48), 0.5)
    positions = mx.array([[[3, 5], [5, 3], [-1, -1]]])
    embedded = embedder(grey, positions)
    assert np.array(embedded)[0, :, 0].tolist() == [11.0, 0.0, 0.0]
