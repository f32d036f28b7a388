"""Attention tile by tile, against attention in one piece with one mask."""

import mlx.core as mx
import numpy as np
import pytest

from gemma4_mlx.nn.masks import ChunkMask, Mask, attention_mask
from gemma4_mlx.text import attend as module
from gemma4_mlx.text.attend import attend

BATCH, HEADS, KV_HEADS, WIDTH = 2, 6, 2, 16
OLD, NEW, WINDOW = 21, 37, 9
TOLERANCE = 1e-5


@pytest.fixture(autouse=True, params=[1, 4, 7, 64])
def tile(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(module, "_TILE", request.param)
    monkeypatch.setattr(module, "_LEAST_TILE", 1)
    return request.param


def blocks() -> mx.array:
    """Pictures of other lengths and places in the two rows, some longer than the window."""
    numbers = np.full((BATCH, NEW), -1, np.int32)
    numbers[0, 2:16], numbers[0, 16:18], numbers[0, 30:37] = 0, 1, 2
    numbers[1, 0:1], numbers[1, 20:35] = 0, 1
    return mx.array(numbers)


def local(**more: mx.array) -> Mask:
    """Of a local layer that has all older tokens a query may see, and no more."""
    keys = mx.arange(OLD - WINDOW + 1, OLD + NEW)
    return attention_mask(NEW, OLD, keys, window=WINDOW, **more)


def everything(**more: mx.array) -> Mask:
    return attention_mask(NEW, OLD, OLD + NEW, **more)


PADDING = mx.array([0, 13])
MASKS = {
    "causal": everything,
    "padded": lambda: everything(left_padding=PADDING),
    "local": local,
    "padded local": lambda: local(left_padding=PADDING),
    "pictures": lambda: local(blocks=blocks()),
    "padded pictures": lambda: local(blocks=blocks(), left_padding=PADDING),
}


def tensors(mask: Mask) -> tuple[mx.array, mx.array, mx.array]:
    keys = mask.keys if isinstance(mask, ChunkMask) else OLD + NEW
    shapes = (HEADS, NEW), (KV_HEADS, keys), (KV_HEADS, keys)
    queries, keys, values = (mx.random.normal((BATCH, *shape, WIDTH)) for shape in shapes)
    return queries, keys, values


def in_one_piece(queries: mx.array, keys: mx.array, values: mx.array, mask: Mask) -> mx.array:
    array = mask.whole() if isinstance(mask, ChunkMask) else mask
    return mx.fast.scaled_dot_product_attention(queries, keys, values, scale=1.0, mask=array)


@pytest.mark.parametrize("name", MASKS)
def test_tiles_give_what_one_piece_gives(name: str) -> None:
    mask = MASKS[name]()
    queries, keys, values = tensors(mask)
    expected = in_one_piece(queries, keys, values, mask)
    found = attend(queries, keys, values, mask)
    assert mx.abs(found - expected).max() <= TOLERANCE


@pytest.mark.parametrize("keep", [1, 2, 11])
@pytest.mark.parametrize("name", MASKS)
def test_fewer_queries_are_the_last_of_the_chunk(name: str, keep: int) -> None:
    mask = MASKS[name]()
    queries, keys, values = tensors(mask)
    expected = in_one_piece(queries, keys, values, mask)[:, :, -keep:]
    found = attend(queries[:, :, -keep:], keys, values, mask)
    assert mx.abs(found - expected).max() <= TOLERANCE


def test_a_tile_of_a_local_layer_reads_its_band_alone(tile: int) -> None:
    """Values out of sight of a whole tile take no part in it: NaN there does it no harm."""
    mask = local()
    queries, keys, values = tensors(mask)
    seen = attend(queries, keys, values, mask)
    nan = mx.full(values[:, :, -1:].shape, mx.nan)
    found = attend(queries, keys, mx.concatenate([values[:, :, :-1], nan], axis=2), mask)
    last = NEW - 1 - (NEW - 1) % tile  # the first query of the last tile, where that value is
    assert mx.array_equal(found[:, :, :last], seen[:, :, :last])
    assert mx.isnan(found[:, :, last:]).all()
