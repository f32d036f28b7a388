"""Which keys a query may see, for the two kinds of decoder layer.

Local layers see the last ``window`` tokens, global layers everything before. In the big models
(26B, 31B) a local layer also sees the whole block of the image or video frame it stands in:
forwards to the block's end, backwards no further than the window. Global layers stay causal.

A mask is None (all keys), the string ``"causal"`` (every query the keys up to its own), a boolean
array that broadcasts to (B, H, L, keys), True where a query sees a key, or a ChunkMask, which
tells for a few queries at a time which part of the keys concerns them at all. A single new token
needs no array, which keeps decoding free of them.
"""

import mlx.core as mx
import numpy as np


class ChunkMask:
    """The mask of a chunk of a prompt, worked out for a few of its queries at a time.

    Of a chunk much longer than the window most keys are out of sight of most queries, and a mask
    of the whole would be as large as the chunk times all its keys.
    """

    def __init__(
        self,
        length: int,
        offset: int,
        keys: int,
        *,
        window: int | None = None,
        left_padding: mx.array | None = None,
        blocks: mx.array | None = None,
    ):
        """``length`` queries from position ``offset`` on; the last of them is the last of the keys.

        The rest is as in `attention_mask`.
        """
        self.length, self.offset, self.keys = length, offset, keys
        self.window, self.left_padding = window, left_padding
        self._blocks = None if blocks is None else np.array(blocks)
        # Up to where a query sees forwards: the key after the last of its block.
        self._ends = None if self._blocks is None else _ends(self._blocks)
        self._known: dict[tuple[int, int], tuple[int, int, mx.array | None]] = {}

    def of(self, start: int, stop: int) -> tuple[int, int, mx.array | None]:
        """What queries ``start`` to ``stop`` of the chunk see: of these keys, from and to, a mask.

        The mask broadcasts to (B, H, stop − start, to − from); None: all of those keys.
        """
        if (start, stop) not in self._known:
            self._known[start, stop] = self._work_out(start, stop)
        return self._known[start, stop]

    def whole(self) -> mx.array:
        """One array for all queries and all keys, (…, L, keys)."""
        return self._between(0, self.length, 0, self.keys)

    def _work_out(self, start: int, stop: int) -> tuple[int, int, mx.array | None]:
        older = self.keys - self.length
        first = 0 if self.window is None else max(0, older + start - self.window + 1)
        last = older + stop
        if self._ends is not None:
            last = max(last, older + int(self._ends[:, start:stop].max()))
        if stop - start == 1 and self._ends is None and self.left_padding is None:
            return first, last, None
        return first, last, self._between(start, stop, first, last)

    def _between(self, start: int, stop: int, first: int, last: int) -> mx.array:
        older = self.keys - self.length
        query = mx.arange(self.offset + start, self.offset + stop)[:, None]
        key = mx.arange(self.offset - older + first, self.offset - older + last)
        seen = key <= query
        if self._blocks is not None:
            asking = self._blocks[:, start:stop, None]
            new = self._blocks[:, max(0, first - older) : last - older]
            known = np.pad(new, [(0, 0), (last - first - new.shape[1], 0)], constant_values=-1)
            seen = seen | mx.array((asking == known[:, None]) & (asking >= 0))[:, None]
        if self.window is not None:
            seen = seen & (key > query - self.window)
        if self.left_padding is not None:
            # A padding query sees itself, so that its (unused) softmax stays finite.
            seen = (seen & (key >= self.left_padding[:, None, None, None])) | (key == query)
        return seen


Mask = ChunkMask | mx.array | str | None


def attention_mask(
    length: int,
    offset: int,
    key_positions: mx.array | int,
    *,
    window: int | None = None,
    left_padding: mx.array | None = None,
    blocks: mx.array | None = None,
) -> Mask:
    """The mask of ``length`` new tokens at positions ``offset`` onwards.

    ``key_positions`` holds the position of every key (keys,), or their number when they are all
    the tokens so far in order; of several new tokens they are in order, and end with them.
    ``window`` is None in global layers. ``left_padding`` (B,) counts the padding at the start of
    each row. ``blocks`` (B, L) numbers the image block of each new token, −1 outside of any.
    """
    in_order = isinstance(key_positions, int)
    keys = key_positions if isinstance(key_positions, int) else key_positions.shape[0]
    plain = left_padding is None and blocks is None
    if length > 1:
        if plain and in_order and (window is None or keys <= window):
            return "causal"
        return ChunkMask(
            length, offset, keys, window=window, left_padding=left_padding, blocks=blocks
        )
    if left_padding is None:
        return None  # the cache keeps no key that the newest token may not see
    key = mx.arange(keys) if isinstance(key_positions, int) else key_positions
    seen = (key <= offset) & (key >= left_padding[:, None, None, None])
    if window is not None:
        seen = seen & (key > offset - window)
    return seen | (key == offset)


def image_blocks(is_vision: mx.array) -> mx.array:
    """Number the runs of image and video tokens: (B, L) bool → (B, L) ids, −1 outside of runs."""
    # In NumPy, since the masks are made on the host: nothing has to be waited for.
    shown = np.array(is_vision)
    before = np.pad(shown[:, :-1], [(0, 0), (1, 0)])
    numbers = np.cumsum(shown & ~before, axis=1, dtype=np.int32) - 1
    return mx.array(np.where(shown, numbers, np.int32(-1)))


def _ends(blocks: np.ndarray) -> np.ndarray:
    """Of every token (B, L) the position after its block's last, 0 outside of any."""
    length = blocks.shape[1]
    is_last = np.pad(blocks[:, 1:] != blocks[:, :-1], [(0, 0), (0, 1)], constant_values=True)
    ends = np.where(is_last, np.arange(1, length + 1), length)
    nearest = np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]
    return np.where(blocks >= 0, nearest, 0)
