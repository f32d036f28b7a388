"""Which keys a query may see, for the two kinds of decoder layer.

Local layers see the last ``window`` tokens, global layers everything before. In the big models
(26B, 31B) a local layer also sees the whole block of the image or video frame it stands in:
forwards to the block's end, backwards no further than the window. Global layers stay causal.

A mask is None (all keys), the string ``"causal"`` (the fused kernel makes it), or a boolean array
that broadcasts to (B, H, L, keys), True where a query sees a key. A single new token needs no
array at all, which keeps decoding free of them.
"""

import mlx.core as mx

Mask = mx.array | str | None


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
    the tokens so far in order. ``window`` is None in global layers. ``left_padding`` (B,) counts
    the padding at the start of each row. ``blocks`` (B, L) numbers the image block of each new
    token, −1 outside of any.
    """
    in_order = isinstance(key_positions, int)
    keys = key_positions if isinstance(key_positions, int) else key_positions.shape[0]
    plain = left_padding is None and blocks is None
    if plain and length == 1:
        return None  # the cache keeps no key that the newest token may not see
    if plain and in_order and (window is None or keys <= window):
        return "causal"

    key = mx.arange(keys) if isinstance(key_positions, int) else key_positions
    query = mx.arange(offset, offset + length)[:, None]
    seen = key <= query
    if blocks is not None and length > 1:
        old = mx.full((blocks.shape[0], keys - length), -1, dtype=blocks.dtype)
        key_blocks = mx.concatenate([old, blocks], axis=1)
        same = (blocks[:, :, None] == key_blocks[:, None, :]) & (blocks[:, :, None] >= 0)
        seen = seen | same[:, None]
    if window is not None:
        seen = seen & (key > query - window)
    if left_padding is not None:
        # A padding query sees itself, so that its (unused) softmax stays finite.
        seen = (seen & (key >= left_padding[:, None, None, None])) | (key == query)
    return seen


def image_blocks(is_vision: mx.array) -> mx.array:
    """Number the runs of image and video tokens: (B, L) bool → (B, L) ids, −1 outside of runs."""
    flags = is_vision.astype(mx.int32)
    before = mx.pad(flags[:, :-1], [(0, 0), (1, 0)])
    starts = (flags == 1) & (before == 0)
    return mx.where(is_vision, mx.cumsum(starts.astype(mx.int32), axis=1) - 1, -1)
