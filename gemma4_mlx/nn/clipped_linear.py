"""A linear layer whose input and output stay within learned bounds.

Gemma 4's small vision tower and its audio tower were trained with the activations around every
projection clipped, so that they can later run in few bits. The four bounds are scalars in the
checkpoint, they are finite and they matter: without them a transcript is gibberish. The big
vision tower has no bounds; the checkpoint still keeps its weights one level down, under
``linear``, so one class serves both.
"""

import math

import mlx.core as mx
import mlx.nn as nn


class ClippedLinear(nn.Module):
    """``clip(linear(clip(x)))`` without a bias; without bounds when ``clipped`` is False.

    Maps (…, in_features) to (…, out_features) in the dtype of ``x`` and the weight.
    """

    def __init__(self, in_features: int, out_features: int, clipped: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, out_features, bias=False)
        self._clipped = clipped
        if clipped:
            self.input_min = mx.array(-math.inf)
            self.input_max = mx.array(math.inf)
            self.output_min = mx.array(-math.inf)
            self.output_max = mx.array(math.inf)

    def __call__(self, x: mx.array) -> mx.array:
        if not self._clipped:
            return self.linear(x)
        y = self.linear(_clip(x, self.input_min, self.input_max))
        return _clip(y, self.output_min, self.output_max)


def _clip(x: mx.array, low: mx.array, high: mx.array) -> mx.array:
    # A bound kept in float32 must not lift a bfloat16 activation to float32.
    return mx.clip(x, low.astype(x.dtype), high.astype(x.dtype))
