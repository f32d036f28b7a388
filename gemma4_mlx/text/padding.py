"""Left padding: how rows of unequal length share a batch.

The newest tokens of all rows stand side by side at the right; what a shorter row lacks is padding
at its start. Positions count from the start of the padded row: rotary embeddings see differences
only, so a shift by the padding changes nothing.
"""

import mlx.core as mx
import numpy as np

from gemma4_mlx.errors import InputError
from gemma4_mlx.text.kv_cache import KVCache


def left_padding(
    attention_mask: mx.array | None, shape: tuple[int, ...], cache: KVCache | None
) -> mx.array | None:
    """The padding at the start of each row, from the mask of a first call or from the cache."""
    offset = cache.offset if cache is not None else 0
    known = cache.left_padding if cache is not None else None
    if attention_mask is None:
        return None if known is None else mx.array(known)

    mask = np.array(attention_mask).astype(bool)
    length = shape[1]
    if mask.shape not in ((shape[0], length), (shape[0], offset + length)):
        raise InputError(
            f"attention_mask has shape {mask.shape}, expected {(shape[0], length)} as input_ids"
        )
    if offset and mask.shape[1] == length:  # the mask of the new tokens alone
        if not mask.all():
            raise InputError("attention_mask: padding may only stand at the start of a prompt")
        return None if known is None else mx.array(known)
    padding = (~mask).sum(axis=1).astype(np.int32)
    if not (mask == (np.arange(mask.shape[1]) >= padding[:, None])).all() or not mask[:, -1].all():
        raise InputError(
            "attention_mask has zeros after ones: only left padding is supported, so put the "
            "padding tokens at the start of each row"
        )
    found = padding if padding.any() else None
    if cache is not None:
        cache.left_padding = found
    return None if found is None else mx.array(found)
