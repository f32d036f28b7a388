"""Keys and values of the tokens so far.

A global layer keeps everything, in a buffer that grows in steps. A local layer keeps the last
``window`` tokens in a ring: the token at position p lies in slot p mod window, and since keys are
stored already turned, their order does not matter to a single query. Layers that borrow keys and
values have no entry of their own.

A global layer is rewound by its length alone: what lies beyond is written over. A ring has lost
what went before, so a snapshot holds it: references, since MLX arrays are immutable.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import mlx.core as mx
import numpy as np

from gemma4_mlx.layer_plan import LayerPlan

_STEP = 256


class GlobalLayerCache:
    """All keys and values of one global layer, each (B, K, tokens, D)."""

    def __init__(self) -> None:
        self.keys: mx.array | None = None
        self.values: mx.array | None = None
        self.offset = 0

    def key_positions(self, length: int) -> int:
        """How many keys ``update`` will return for ``length`` new tokens: all, in order."""
        return self.offset + length

    def update(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        """Append (B, K, L, D) and return everything so far, in order."""
        end = self.offset + keys.shape[2]
        self.keys = _grown(self.keys, keys, end)
        self.values = _grown(self.values, values, end)
        self.keys[:, :, self.offset : end] = keys
        self.values[:, :, self.offset : end] = values
        self.offset = end
        return self.keys[:, :, :end], self.values[:, :, :end]


class SlidingLayerCache:
    """The last ``window`` keys and values of one local layer, as a ring."""

    def __init__(self, window: int) -> None:
        self.window = window
        self.keys: mx.array | None = None
        self.values: mx.array | None = None
        self.offset = 0

    def key_positions(self, length: int) -> mx.array | int:
        """Positions of the keys that ``update`` will return for ``length`` new tokens.

        An int says: that many, in order from position 0.
        """
        if length > 1:
            start = max(0, self.offset - (self.window - 1))
            end = self.offset + length
            return end if start == 0 else mx.arange(start, end)
        if self.offset < self.window:
            return self.offset + 1
        slots = mx.arange(self.window)
        return self.offset - (self.offset - slots) % self.window

    def update(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        """Take in (B, K, L, D); return what the new tokens may see.

        One token: the ring, in slot order. Several: up to window − 1 older tokens and the new
        ones, in order.
        """
        length = keys.shape[2]
        if length == 1:
            used = min(self.offset + 1, self.window)
            slot = self.offset % self.window
            self.keys = _grown(self.keys, keys, used, self.window)
            self.values = _grown(self.values, values, used, self.window)
            self.keys[:, :, slot : slot + 1] = keys
            self.values[:, :, slot : slot + 1] = values
            self.offset += 1
            if self.keys.shape[2] == used:
                return self.keys, self.values
            return self.keys[:, :, :used], self.values[:, :, :used]

        all_keys = _joined(self._in_order(self.keys), keys)
        all_values = _joined(self._in_order(self.values), values)
        self.offset += length
        self.keys, self.values = self._as_ring(all_keys), self._as_ring(all_values)
        return all_keys, all_values

    def _in_order(self, ring: mx.array | None) -> mx.array | None:
        """The last window − 1 tokens of the ring, oldest first."""
        if ring is None or self.offset < self.window:
            return ring if ring is None else ring[:, :, : self.offset]
        newest = self.offset % self.window  # the slot written next holds the oldest token
        return mx.roll(ring, -newest, 2)[:, :, 1:] if newest else ring[:, :, 1:]

    def _as_ring(self, ordered: mx.array) -> mx.array:
        if self.offset <= self.window:
            return ordered
        last = ordered[:, :, -self.window :]
        return mx.roll(last, self.offset % self.window, 2)


LayerCache = GlobalLayerCache | SlidingLayerCache


@dataclass(frozen=True)
class CacheSnapshot:
    """The state of a KVCache at ``offset``: references to its rings, no copies.

    ``rewinds`` counts how often the cache had been rewound before.
    """

    offset: int
    left_padding: np.ndarray | None
    ends_in_vision: np.ndarray | None
    rings: tuple[tuple[mx.array | None, mx.array | None], ...]
    rewinds: int


class KVCache:
    """The cache of a whole decoder: one layer cache per layer that owns keys and values.

    ``left_padding`` (B,) counts the padding tokens at the start of each row, or is None.
    ``ends_in_vision`` (B,) says whether the newest token stands in an image or video frame.
    """

    def __init__(self, plan: tuple[LayerPlan, ...]):
        self.layers: list[LayerCache | None] = [
            None
            if row.kv_donor is not None
            else (GlobalLayerCache() if row.window is None else SlidingLayerCache(row.window))
            for row in plan
        ]
        self.left_padding: np.ndarray | None = None
        self.ends_in_vision: np.ndarray | None = None
        self._rewound_to: list[int] = []

    @property
    def offset(self) -> int:
        """The number of tokens taken in so far."""
        return next((layer.offset for layer in self._owned()), 0)

    @property
    def rows(self) -> int:
        """The number of rows of the batch it holds; 0 while it is empty."""
        return next((array.shape[0] for array in self.arrays()), 0)

    @property
    def nbytes(self) -> int:
        """Bytes allocated for keys and values."""
        return sum(array.nbytes for array in self.arrays())

    def arrays(self) -> list[mx.array]:
        """Every key and value buffer, for evaluating them together."""
        pairs = ((layer.keys, layer.values) for layer in self._owned())
        return [array for pair in pairs for array in pair if array is not None]

    def snapshot(self) -> CacheSnapshot:
        """Remember this state; cheap, and later updates do not change it."""
        return CacheSnapshot(
            self.offset,
            self.left_padding,
            self.ends_in_vision,
            tuple((_same(ring.keys), _same(ring.values)) for ring in self._rings()),
            len(self._rewound_to),
        )

    def restore(self, snapshot: CacheSnapshot) -> None:
        """Go back to a snapshot of this cache, any number of times.

        Raises ValueError for a snapshot that is later than a state gone back to since: the global
        layers have been written over there.
        """
        if any(offset < snapshot.offset for offset in self._rewound_to[snapshot.rewinds :]):
            raise ValueError(
                f"the snapshot at {snapshot.offset} tokens is later than a state that this cache "
                "went back to since it was taken"
            )
        self._rewound_to.append(snapshot.offset)
        for ring, (keys, values) in zip(self._rings(), snapshot.rings, strict=True):
            ring.keys, ring.values = _same(keys), _same(values)
        for layer in self._owned():
            layer.offset = snapshot.offset
        self.left_padding = snapshot.left_padding
        self.ends_in_vision = snapshot.ends_in_vision

    def _rings(self) -> Iterator[SlidingLayerCache]:
        return (layer for layer in self._owned() if isinstance(layer, SlidingLayerCache))

    def _owned(self) -> Iterator[LayerCache]:
        return (layer for layer in self.layers if layer is not None)


def _same(array: mx.array | None) -> mx.array | None:
    """Another handle on the same data: assigning to a slice of one does not show in the other."""
    return None if array is None else array[:]


def _joined(old: mx.array | None, new: mx.array) -> mx.array:
    return new if old is None else mx.concatenate([old, new], axis=2)


def _grown(
    buffer: mx.array | None, like: mx.array, needed: int, limit: int | None = None
) -> mx.array:
    """A buffer with room for ``needed`` tokens, at least as long as the one given."""
    room = 0 if buffer is None else buffer.shape[2]
    if buffer is not None and room >= needed:
        return buffer
    size = -(-needed // _STEP) * _STEP
    if limit is not None:
        size = min(size, limit)
    batch, heads, _, head_dim = like.shape
    extra = mx.zeros((batch, heads, size - room, head_dim), like.dtype)
    return extra if buffer is None else mx.concatenate([buffer, extra], axis=2)
