"""A cache of 8 bits: groups of numbers of one token that share a scale and an offset.

Half the memory of bfloat16 for the layers that keep every token; sliding layers keep a window
and are left as they are. Tokens are packed once, when they come, and never again.
"""

from typing import NamedTuple

import mlx.core as mx

from gemma4_mlx.errors import InputError
from gemma4_mlx.layer_plan import LayerPlan

BITS = 8


class Packed(NamedTuple):
    """A tensor (B, N, tokens, width) as mx.quantize gives it."""

    numbers: mx.array  # four to an element
    scales: mx.array
    biases: mx.array

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the tensor that is packed."""
        return (*self.numbers.shape[:-1], 4 * self.numbers.shape[-1])

    @property
    def group(self) -> int:
        """How many numbers share a scale."""
        return self.shape[-1] // self.scales.shape[-1]

    def matmul(self, x: mx.array, *, transpose: bool) -> mx.array:
        """x (B, K, L, …) times this, or times this transposed."""
        return mx.quantized_matmul(x, *self, transpose, group_size=self.group, bits=BITS)


# What a layer keeps of keys or values.
Kept = mx.array | Packed


def pack(tensor: mx.array, group: int) -> Packed:
    """Pack tokens (B, N, L, width), ``group`` numbers sharing a scale."""
    return Packed(*mx.quantize(tensor, group_size=group, bits=BITS))


def keys_and_values(kept: Kept) -> tuple[Kept, Kept]:
    """What is kept (B, 2K, tokens, D) as keys and values, each (B, K, tokens, D)."""
    if isinstance(kept, Packed):
        parts = [mx.split(part, 2, axis=1) for part in kept]
        return Packed(*(keys for keys, _ in parts)), Packed(*(values for _, values in parts))
    keys, values = mx.split(kept, 2, axis=1)
    return keys, values


def unpacked(kept: Kept) -> mx.array:
    """The tensor (B, N, tokens, width) itself, in the dtype it was packed from."""
    if isinstance(kept, Packed):
        return mx.dequantize(*kept, group_size=kept.group, bits=BITS)
    return kept


def check_bits(kv_bits: int | None, plan: tuple[LayerPlan, ...]) -> None:
    """InputError unless the cache of this decoder can have so many bits (None: as computed)."""
    if kv_bits is None:
        return
    if kv_bits != BITS:
        raise InputError(f"kv_bits is {kv_bits!r}, expected {BITS}, or None for an unpacked cache")
    for row in plan:
        if row.is_global and row.kv_donor is None and row.packed_group is None:
            raise InputError(
                f"kv_bits={BITS} packs groups of 32 numbers, but layer {row.index} keeps "
                f"{row.kept_width} per key and value head: leave kv_bits out for this model"
            )
