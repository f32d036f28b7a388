"""The dtypes of safetensors files, as NumPy and MLX have them.

NumPy has no bfloat16: on the host such numbers are uint16, bit by bit, and MLX is told afterwards
what they are. float64 and floats of 8 bits and fewer are not here: MLX loads no float64, and the
others are of other tools' quantizations.

Source: huggingface/safetensors, README "Format".
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import mlx.core as mx
import numpy as np


class Dtype(NamedTuple):
    """One of the format's dtypes: what holds its bits on the host, and what MLX calls it."""

    host: np.dtype[Any]
    mlx: mx.Dtype

    @property
    def itemsize(self) -> int:
        """Bytes of one number."""
        return self.host.itemsize

    @property
    def is_floating(self) -> bool:
        """Whether weights may have it; the others are of packed numbers, and of constants."""
        return mx.issubdtype(self.mlx, mx.floating)


STORED_DTYPES: Mapping[str, Dtype] = {
    "F32": Dtype(np.dtype(np.float32), mx.float32),
    "F16": Dtype(np.dtype(np.float16), mx.float16),
    "BF16": Dtype(np.dtype(np.uint16), mx.bfloat16),
    "I64": Dtype(np.dtype(np.int64), mx.int64),
    "I32": Dtype(np.dtype(np.int32), mx.int32),
    "I16": Dtype(np.dtype(np.int16), mx.int16),
    "I8": Dtype(np.dtype(np.int8), mx.int8),
    "U64": Dtype(np.dtype(np.uint64), mx.uint64),
    "U32": Dtype(np.dtype(np.uint32), mx.uint32),
    "U16": Dtype(np.dtype(np.uint16), mx.uint16),
    "U8": Dtype(np.dtype(np.uint8), mx.uint8),
    "BOOL": Dtype(np.dtype(np.bool_), mx.bool_),
}


def as_stored(bits: mx.array, dtype: str) -> mx.array:
    """An array made of host numbers as what the file says they are; shares its memory."""
    return bits.view(STORED_DTYPES[dtype].mlx)
