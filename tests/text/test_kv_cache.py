"""The cache: what a ring keeps, and that a snapshot stays what it was."""

import mlx.core as mx
import numpy as np
import pytest

from gemma4_mlx.config import FULL, SLIDING
from gemma4_mlx.layer_plan import LayerPlan
from gemma4_mlx.text.kv_cache import GlobalLayerCache, KVCache, SlidingLayerCache

WINDOW = 6


def tokens(start: int, stop: int) -> mx.array:
    """One head (1, 1, L, 1) that holds its own positions."""
    return mx.arange(start, stop, dtype=mx.float32).reshape(1, 1, -1, 1)


def positions(kept: mx.array) -> list[int]:
    return np.array(kept).reshape(-1).astype(int).tolist()


def plan() -> tuple[LayerPlan, ...]:
    def row(index: int, kind: str, window: int | None, donor: int | None) -> LayerPlan:
        return LayerPlan(index, kind, 1, 1, 1, 1, window, False, donor, 4, False)  # type: ignore[arg-type]

    return (row(0, SLIDING, WINDOW, None), row(1, FULL, None, None), row(2, SLIDING, WINDOW, 0))


@pytest.mark.parametrize("chunks", [[1] * 20, [20], [3, 1, 1, 9, 6], [5, 1, 7, 1, 6], [6, 6, 8]])
def test_a_ring_gives_each_query_exactly_its_window(chunks: list[int]) -> None:
    cache = SlidingLayerCache(WINDOW)
    start = 0
    for length in chunks:
        told = cache.key_positions(length)
        found = positions(cache.update(tokens(start, start + length)))
        assert found == (list(range(told)) if isinstance(told, int) else told.tolist())
        oldest = max(0, start - WINDOW + 1)
        assert sorted(found) == list(range(oldest, start + length))
        start += length


def test_a_global_layer_keeps_everything_in_order() -> None:
    cache = GlobalLayerCache()
    for start, stop in ((0, 300), (300, 301), (301, 700)):
        assert positions(cache.update(tokens(start, stop))) == list(range(stop))


def fill(cache: KVCache, start: int, stop: int) -> list[list[int]]:
    owned = [layer for layer in cache.layers if layer is not None]
    return [sorted(positions(layer.update(tokens(start, stop)))) for layer in owned]


def test_a_snapshot_is_restored_any_number_of_times() -> None:
    cache = KVCache(plan())
    assert cache.layers[2] is None  # it borrows
    fill(cache, 0, 9)
    snapshot = cache.snapshot()
    first = [fill(cache, i, i + 1) for i in range(9, 15)]
    for _ in range(2):
        cache.restore(snapshot)
        assert cache.offset == 9
        assert [fill(cache, i, i + 1) for i in range(9, 15)] == first
    cache.restore(snapshot)
    assert fill(cache, 9, 12) == [list(range(4, 12)), list(range(12))]


def test_a_snapshot_that_was_written_over_is_refused() -> None:
    cache = KVCache(plan())
    fill(cache, 0, 4)
    early = cache.snapshot()
    fill(cache, 4, 8)
    late = cache.snapshot()
    cache.restore(late)
    cache.restore(early)
    fill(cache, 4, 9)
    with pytest.raises(ValueError, match="later than a state"):
        cache.restore(late)
    cache.restore(early)


def test_local_layers_stop_growing_at_the_window() -> None:
    cache = KVCache(plan())
    fill(cache, 0, 600)
    before = cache.nbytes
    fill(cache, 600, 601)
    ring = cache.layers[0]
    assert ring is not None and [buffer.shape[2] for buffer in ring.buffers] == [WINDOW]
    assert cache.nbytes == before  # 601 tokens still fit the global layer's buffer
