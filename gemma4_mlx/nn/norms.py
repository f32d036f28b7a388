"""Root-mean-square normalisation (Zhang and Sennrich, 2019), the only norm of the decoder.

Gemma 4's weights multiply as they are: the "+ 1" of earlier Gemmas is gone. Both forms
accumulate in float32 and return the dtype they were given.
"""

import mlx.core as mx
import mlx.nn as nn


class RMSNorm(nn.Module):
    """``x / rms(x) · weight`` over the last axis, which has ``dims`` entries."""

    def __init__(self, dims: int, eps: float = 1e-6):
        super().__init__()
        self.weight = mx.ones((dims,))
        self.eps = eps

    def __call__(self, x: mx.array) -> mx.array:
        return mx.fast.rms_norm(x, self.weight, self.eps)


def rms_norm_no_scale(x: mx.array, eps: float = 1e-6) -> mx.array:
    """``x / rms(x)`` over the last axis: the norm of values and of the towers' tokens."""
    return mx.fast.rms_norm(x, None, eps)
