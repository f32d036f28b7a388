"""Softmax attention over keys and values, in the form that this machine computes without copies.

Metal reads tensors whose rows lie apart, and its kernel for a single query reads the keys of a
group of heads once. The CPU's matrix product copies such tensors first, for every query head
anew, and also reads the keys anew for every head; so there nothing is handed over whose rows lie
apart, and where there is a single query, the heads of a group become the queries of one head.

A chunk of a prompt attends tile by tile: a few hundred queries, with the keys that these may see.
In a local layer that is a band along the diagonal instead of the whole rectangle, and the scores of
a few tiles are all that is in memory at a time; they grow with the keys only where a tile is at its
least, from some 32,000 keys on. (Tiling is the idea of
Dao et al., 2022, here between kernels and not inside one.)
"""

import mlx.core as mx

from gemma4_mlx.nn.masks import ChunkMask, Mask
from gemma4_mlx.text.packed import Kept, Packed, unpacked

# A mask that MLX takes.
_Plain = mx.array | str | None

# From so many queries on, a copy of keys and values costs the CPU less than multiplying with the
# columns that are not wanted.
_MANY = 16

# Queries of a tile, at most, and about how many scores of one head it may have: with more keys
# there are fewer queries, down to the least.
_TILE, _LEAST_TILE, _SCORES = 256, 32, 2**20


def on_metal() -> bool:
    """Whether Metal computes: what all below depends on."""
    return mx.metal.is_available() and on_gpu()


def on_gpu() -> bool:
    """Whether a GPU computes, with Metal or with CUDA."""
    return mx.default_device() == mx.Device(mx.gpu)


def attend(queries: mx.array, keys: Kept, values: Kept, mask: Mask) -> mx.array:
    """queries (B, H, L, D), keys (B, K, S, D), values (B, K, S, V) → (B, H, L, V).

    Scores are not scaled. Where the queries are fewer than those of a "causal" mask or of a
    ChunkMask, they are its last. With L = 1 a mask is the same for all heads. Keys and values of
    8 bits are multiplied as they are by a single query, and unpacked for several.
    """
    if queries.shape[2] > 1:
        return _attend_in_tiles(queries, unpacked(keys), unpacked(values), mask)
    if isinstance(mask, ChunkMask):
        first, last, mask = mask.of(mask.length - 1, mask.length)
        keys = _between(unpacked(keys), first, last)
        values = _between(unpacked(values), first, last)
    elif isinstance(mask, str):
        mask = None
    return attend_once(queries, keys, values, mask).reshape(*queries.shape[:3], -1)


def attend_once(queries: mx.array, keys: Kept, values: Kept, mask: mx.array | None) -> mx.array:
    """A single query per head, (B, H, 1, D) → the numbers of (B, H, 1, V) in this order.

    What is attended to, and the mask, are as above; the shape is as it comes.
    """
    if isinstance(keys, Packed) or not on_metal():
        return _attend_grouped(queries, keys, values, mask)
    return _attention(queries, unpacked(keys), unpacked(values), mask)


def attend_within(queries: mx.array, tensor: Kept, mask: Mask) -> mx.array:
    """The same with a tensor (B, K, S, W) whose first D columns are keys and whose last D values.

    → (B, H, L, D), or (B, H, L, W) of which the last D columns count.
    """
    length, head_dim = queries.shape[2:]
    beyond = tensor.shape[-1] - head_dim
    if length > 1:
        tensor = unpacked(tensor)
    if isinstance(tensor, mx.array):
        keys, values = tensor[..., :head_dim], tensor[..., beyond:]
        if on_metal():
            return attend(queries, keys, values, mask)
        if length >= _MANY:
            return attend(queries, mx.contiguous(keys), mx.contiguous(values), mask)
    # Zeros meet the columns that are no keys.
    queries = mx.pad(queries, [(0, 0), (0, 0), (0, 0), (0, beyond)])
    return attend(queries, tensor, tensor, mask)


def _attend_in_tiles(queries: mx.array, keys: mx.array, values: mx.array, mask: Mask) -> mx.array:
    """A few hundred queries after the other, each with the keys that they may see."""
    length, total = queries.shape[2], keys.shape[2]
    seen = total
    if isinstance(mask, ChunkMask) and mask.window is not None:
        seen = min(total, mask.window + _TILE)
    tile = max(_LEAST_TILE, min(_TILE, _SCORES // seen))
    if length <= tile and not isinstance(mask, ChunkMask):
        return _attention(queries, keys, values, mask)
    done: list[mx.array] = []
    for start in range(0, length, tile):
        stop = min(start + tile, length)
        first, last, part = _seen_by(start, stop, length, total, mask)
        asking = queries[:, :, start:stop]
        if done:
            # One after the other: else the scores of all tiles may be in memory together.
            (asking,) = mx.depends([asking], [done[-1]])
        done.append(
            _attention(asking, _between(keys, first, last), _between(values, first, last), part)
        )
    return done[0] if len(done) == 1 else mx.concatenate(done, axis=2)


def _seen_by(start: int, stop: int, length: int, total: int, mask: Mask) -> tuple[int, int, _Plain]:
    """What queries ``start`` to ``stop`` see: of ``total`` keys, from and to, and a mask."""
    if isinstance(mask, ChunkMask):
        before = mask.length - length
        return mask.of(before + start, before + stop)
    if isinstance(mask, str):  # causal, which puts the last query upon the last key
        return 0, total - length + stop, mask
    return 0, total, mask if mask is None or mask.shape[-2] == 1 else mask[..., start:stop, :]


def _between(kept: mx.array, first: int, last: int) -> mx.array:
    """The tokens ``first`` to ``last`` of what is kept (B, N, tokens, width)."""
    return kept if last - first == kept.shape[2] else kept[:, :, first:last]


def _attention(queries: mx.array, keys: mx.array, values: mx.array, mask: _Plain) -> mx.array:
    return mx.fast.scaled_dot_product_attention(queries, keys, values, scale=1.0, mask=mask)


def _attend_grouped(queries: mx.array, keys: Kept, values: Kept, mask: _Plain) -> mx.array:
    """Those of the heads of a group as the queries of one head: → (B, K, H / K, V)."""
    group = queries.reshape(len(queries), keys.shape[1], -1, queries.shape[-1])
    if isinstance(keys, Packed) and isinstance(values, Packed):
        # The CPU adds up in the dtype of what it multiplies: float32 then.
        scores = keys.matmul(group if on_metal() else group.astype(mx.float32), transpose=True)
        if isinstance(mask, mx.array):
            scores = mx.where(mask, scores, -mx.inf)
        weights = mx.softmax(scores, axis=-1, precise=True)
        return values.matmul(weights, transpose=False).astype(queries.dtype)
    return _attention(group, unpacked(keys), unpacked(values), mask)
