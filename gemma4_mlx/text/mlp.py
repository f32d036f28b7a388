"""The gated MLP (Shazeer, 2020) with a tanh-approximated GELU.

In E2B the layers that share keys and values are twice as wide ("double-wide"): the width comes
from the layer plan.
"""

import mlx.core as mx
import mlx.nn as nn


@mx.compile
def gated_gelu(gate: mx.array, up: mx.array) -> mx.array:
    """``gelu(gate) · up``, as one kernel."""
    return nn.gelu_approx(gate) * up


class MLP(nn.Module):
    """``down(gelu(gate(x)) · up(x))`` over the last axis."""

    def __init__(self, hidden: int, width: int):
        super().__init__()
        self.gate_proj = nn.Linear(hidden, width, bias=False)
        self.up_proj = nn.Linear(hidden, width, bias=False)
        self.down_proj = nn.Linear(width, hidden, bias=False)

    def __call__(self, x: mx.array) -> mx.array:
        return self.down_proj(gated_gelu(self.gate_proj(x), self.up_proj(x)))
