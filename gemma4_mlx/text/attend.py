"""Softmax attention over keys and values, in the form that this machine computes without copies.

Metal reads tensors whose rows lie apart, and its kernel for a single query reads the keys of a
group of heads once. The CPU's matrix product copies such tensors first, for every query head
anew, and also reads the keys anew for every head; so there nothing is handed over whose rows lie
apart, and where there is a single query, the heads of a group become the queries of one head.
"""

import mlx.core as mx

from gemma4_mlx.nn.masks import Mask
from gemma4_mlx.text.packed import Kept, Packed, unpacked

# From so many queries on, a copy of keys and values costs the CPU less than multiplying with the
# columns that are not wanted.
_MANY = 16


def on_metal() -> bool:
    """Whether Metal computes: what all below depends on."""
    return mx.metal.is_available() and mx.default_device() == mx.Device(mx.gpu)


def attend(queries: mx.array, keys: Kept, values: Kept, mask: Mask) -> mx.array:
    """queries (B, H, L, D), keys (B, K, S, D), values (B, K, S, V) → (B, H, L, V).

    Scores are not scaled. With L = 1 a mask is the same for all heads. Keys and values of 8 bits
    are multiplied as they are by a single query, and unpacked for several.
    """
    if queries.shape[2] == 1 and (isinstance(keys, Packed) or not on_metal()):
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


def _attention(queries: mx.array, keys: mx.array, values: mx.array, mask: Mask) -> mx.array:
    return mx.fast.scaled_dot_product_attention(queries, keys, values, scale=1.0, mask=mask)


def _attend_grouped(queries: mx.array, keys: Kept, values: Kept, mask: Mask) -> mx.array:
    """A single query per head: those of the heads of a group as the queries of one head."""
    batch, heads, length, head_dim = queries.shape
    group = queries.reshape(batch, keys.shape[1], -1, head_dim)
    if isinstance(keys, Packed) and isinstance(values, Packed):
        # The CPU adds up in the dtype of what it multiplies: float32 then.
        scores = keys.matmul(group if on_metal() else group.astype(mx.float32), transpose=True)
        if isinstance(mask, mx.array):
            scores = mx.where(mask, scores, -mx.inf)
        weights = mx.softmax(scores, axis=-1, precise=True)
        out = values.matmul(weights, transpose=False).astype(queries.dtype)
    else:
        out = _attention(group, unpacked(keys), unpacked(values), mask)
    return out.reshape(batch, heads, length, -1)
