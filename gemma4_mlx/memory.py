"""What a model takes in memory, and what this machine has.

The key-value cache grows with the context, but only in the global layers that own their keys and
values: a sliding layer keeps its window, and a layer that borrows keys and values keeps nothing.
Where keys serve as values (26B, 31B), one tensor of 5/8 the size holds both.
The per-layer embedding table of E2B and E4B stays on flash unless it is small for the machine.
"""

import os
from dataclasses import dataclass
from typing import Literal

from gemma4_mlx.layer_plan import plan_layers
from gemma4_mlx.text_config import TextConfig

# Buffers of the cache grow by so many tokens at a time (text/kv_cache.py).
CACHE_STEP = 256
# The per-layer embedding table is kept in memory up to this share of the machine's.
_COMFORTABLE_SHARE = 1 / 64


def kv_cache_bytes(
    config: TextConfig, context: int, *, itemsize: int = 2, kv_bits: int | None = None
) -> int:
    """Bytes that the cache of one conversation has allocated at ``context`` tokens.

    Counted as while decoding, with buffers in whole steps of 256 tokens and at most the window in
    sliding layers; so it equals the tokens' own size at every multiple of 256. Until the first
    token is decoded, a prompt shorter than the window takes less in sliding layers: its own
    length. ``itemsize``: bytes of a number, 2 in bfloat16. ``kv_bits=8``: as of make_cache. A
    batch takes this once per row.
    """
    allocated = -(-context // CACHE_STEP) * CACHE_STEP
    total = 0
    for row in plan_layers(config):
        if row.kv_donor is None:
            tokens = allocated if row.window is None else min(allocated, row.window)
            numbers = row.kept_heads * row.kept_width
            if kv_bits is None or not row.is_global or row.packed_group is None:
                token = numbers * itemsize
            else:
                token = numbers + numbers // row.packed_group * 2 * itemsize
            total += tokens * token
    return total


def contexts(config: TextConfig) -> tuple[int, ...]:
    """Context lengths worth showing: 4K tokens, doubled up to the model's limit, and the limit."""
    limit = config.max_position_embeddings
    doubled, tokens = [], 4096
    while tokens < limit:
        doubled.append(tokens)
        tokens *= 2
    return (*doubled, limit)


def physical_memory() -> int:
    """Bytes of memory in this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def keeps_table_in_memory(table_bytes: int) -> bool:
    """Whether a per-layer embedding table of this size is loaded rather than read from flash."""
    return table_bytes <= physical_memory() * _COMFORTABLE_SHARE


@dataclass(frozen=True)
class Room:
    """How much a model may take here, in bytes: a GPU's ``working set``, or all ``memory``."""

    nbytes: int
    kind: Literal["working set", "memory"]


def room() -> Room:
    """What Metal recommends as the GPU's working set (some 75 % of memory), else all memory."""
    import mlx.core as mx

    recommended = mx.device_info().get("max_recommended_working_set_size")
    if isinstance(recommended, int) and recommended > 0:
        return Room(recommended, "working set")
    return Room(physical_memory(), "memory")
