"""Blocks of queries, their contexts of keys, and who sees whom."""

import mlx.core as mx
import numpy as np
import pytest

from gemma4_mlx.audio.blocks import LocalBlocks
from tests.audio.tiny_towers import RELEASED


def test_released_geometry() -> None:
    blocks = LocalBlocks.from_config(RELEASED)
    assert (blocks.chunk, blocks.past, blocks.future, blocks.context) == (12, 12, 0, 24)
    assert [blocks.count(frames) for frames in (1, 12, 13, 24)] == [1, 1, 2, 2]


def test_cutting_by_hand() -> None:
    blocks = LocalBlocks(chunk=2, past=3, future=1)
    x = mx.array([[1, 2, 3]])
    assert blocks.queries(x).tolist() == [[[1, 2], [3, 0]]]
    assert blocks.contexts(x).tolist() == [[[0, 0, 0, 1, 2, 3], [0, 1, 2, 3, 0, 0]]]


@pytest.mark.parametrize("frames", [1, 11, 12, 13, 30])
@pytest.mark.parametrize("geometry", [(12, 12, 0), (4, 6, 3), (5, 2, 0)])
def test_mask_is_the_reach_of_each_frame(frames: int, geometry: tuple[int, int, int]) -> None:
    blocks = LocalBlocks(*geometry)
    _, past, future = geometry
    valid = np.random.rand(2, frames) < 0.8
    mask = np.array(blocks.mask(mx.array(valid)))
    for clip, block, row, column in np.ndindex(2, *mask.shape[2:]):
        query = block * blocks.chunk + row
        key = block * blocks.chunk + column - past
        in_reach = 0 <= query - key < past or 0 < key - query < future
        expected = in_reach and 0 <= key < frames and valid[clip, key]
        assert mask[clip, 0, block, row, column] == expected
