"""Keys and values of the tokens so far.

A layer keeps one tensor (B, N, tokens, width): the heads of keys and behind them those of values,
or, where one tensor serves as both (one_tensor.py), its heads. A global layer keeps all tokens, in
a buffer that grows in steps. A local layer keeps the last ``window`` tokens in a ring: the token at
position p lies in slot p mod window, and since keys are stored already turned, their order does
not matter to a single query. Layers that borrow keys and values have no entry of their own.

A global layer is rewound by its length alone: what lies beyond is written over. A ring has lost
what went before, so a snapshot holds it: references, since MLX arrays are immutable.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import mlx.core as mx
import numpy as np

from gemma4_mlx.layer_plan import LayerPlan
from gemma4_mlx.text.packed import Kept, Packed, check_bits, pack

_STEP = 256


class GlobalLayerCache:
    """All tokens of one global layer.

    ``buffers``: one (B, N, tokens, width), or with a ``packed_group`` the three parts of 8-bit
    numbers of which so many share a scale; none while it is empty.
    """

    def __init__(self, packed_group: int | None = None) -> None:
        self.buffers: tuple[mx.array, ...] = ()
        self.offset = 0
        self.packed_group = packed_group

    def key_positions(self, length: int) -> int:
        """How many keys ``update`` will return for ``length`` new tokens: all, in order."""
        return self.offset + length

    def update(self, new: mx.array) -> Kept:
        """Append tokens (B, N, L, width) and return all so far, in order."""
        parts = (new,) if self.packed_group is None else pack(new, self.packed_group)
        start, end = self.offset, self.offset + new.shape[2]
        old = self.buffers or (None,) * len(parts)
        self.buffers = tuple(map(_grown, old, parts, (end,) * len(parts)))
        for buffer, part in zip(self.buffers, parts, strict=True):
            buffer[:, :, start:end] = part
        self.offset = end
        seen = [buffer[:, :, :end] for buffer in self.buffers]
        return seen[0] if self.packed_group is None else Packed(*seen)

    def keep_rows(self, rows: mx.array) -> None:
        self.buffers = tuple(buffer[rows] for buffer in self.buffers)


class SlidingLayerCache:
    """The last ``window`` tokens of one local layer: ``ring`` (B, N, tokens, width), or None."""

    def __init__(self, window: int) -> None:
        self.ring: mx.array | None = None
        self.offset = 0
        self.window = window

    @property
    def buffers(self) -> tuple[mx.array, ...]:
        return () if self.ring is None else (self.ring,)

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

    def update(self, new: mx.array) -> mx.array:
        """Take in tokens (B, N, L, width); return what the new ones may see.

        One token: the ring, in slot order. Several: up to window − 1 older tokens and the new
        ones, in order.
        """
        length = new.shape[2]
        if length == 1:
            used = min(self.offset + 1, self.window)
            slot = self.offset % self.window
            ring = self.ring = _grown(self.ring, new, used, self.window)
            ring[:, :, slot : slot + 1] = new
            self.offset += 1
            return ring if ring.shape[2] == used else ring[:, :, :used]

        ordered = new if self.ring is None else mx.concatenate([self._older(), new], axis=2)
        self.offset += length
        self.ring = self._as_ring(ordered)
        return ordered

    def keep_rows(self, rows: mx.array) -> None:
        self.ring = None if self.ring is None else self.ring[rows]

    def _older(self) -> mx.array:
        """The last window − 1 tokens of the ring, oldest first."""
        ring = self.ring
        assert ring is not None
        if self.offset < self.window:
            return ring[:, :, : self.offset]
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
    rings: tuple[mx.array | None, ...]
    rewinds: int

    @property
    def nbytes(self) -> int:
        """Bytes of the rings."""
        return sum(ring.nbytes for ring in self.rings if ring is not None)


class KVCache:
    """The cache of a whole decoder: one layer cache per layer that owns keys and values.

    ``left_padding`` (B,) counts the padding tokens at the start of each row, or is None.
    ``ends_in_vision`` (B,) says whether the newest token stands in an image or video frame.
    ``kv_bits=8`` packs what global layers keep.

    Raises InputError for other ``kv_bits``, and for heads of which 8 bits cannot be packed.
    """

    def __init__(self, plan: tuple[LayerPlan, ...], kv_bits: int | None = None):
        check_bits(kv_bits, plan)
        self.layers: list[LayerCache | None] = [
            None
            if row.kv_donor is not None
            else (
                SlidingLayerCache(row.window)
                if row.window is not None
                else GlobalLayerCache(None if kv_bits is None else row.packed_group)
            )
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
        """Every buffer, for evaluating them together."""
        return [buffer for layer in self._owned() for buffer in layer.buffers]

    def snapshot(self) -> CacheSnapshot:
        """Remember this state; cheap, and later updates do not change it."""
        return CacheSnapshot(
            self.offset,
            self.left_padding,
            self.ends_in_vision,
            tuple(_same(layer.ring) for layer in self._sliding()),
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
        for sliding, ring in zip(self._sliding(), snapshot.rings, strict=True):
            sliding.ring = _same(ring)
        for layer in self._owned():
            layer.offset = snapshot.offset
        self.left_padding = snapshot.left_padding
        self.ends_in_vision = snapshot.ends_in_vision

    def keep_rows(self, rows: Sequence[int]) -> None:
        """Go on with these rows of the batch alone; older snapshots are of no use afterwards."""
        chosen = mx.array(list(rows))
        for layer in self._owned():
            layer.keep_rows(chosen)
        if self.left_padding is not None:
            self.left_padding = self.left_padding[np.array(rows)]
        if self.ends_in_vision is not None:
            self.ends_in_vision = self.ends_in_vision[np.array(rows)]

    def _sliding(self) -> Iterator[SlidingLayerCache]:
        return (layer for layer in self._owned() if isinstance(layer, SlidingLayerCache))

    def _owned(self) -> Iterator[LayerCache]:
        return (layer for layer in self.layers if layer is not None)


def _same(array: mx.array | None) -> mx.array | None:
    """Another handle on the same data: assigning to a slice of one does not show in the other."""
    return None if array is None else array[:]


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
