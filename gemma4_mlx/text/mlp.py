"""The gated MLP (Shazeer, 2020) with a tanh-approximated GELU.

In E2B the layers that share keys and values are twice as wide ("double-wide"): the width comes
from the layer plan.
"""

import math

import mlx.core as mx
import mlx.nn as nn

_A = 2 * math.sqrt(2 / math.pi)
_B = 0.044715 * _A


@mx.compile
def gated_gelu(gate: mx.array, up: mx.array) -> mx.array:
    """``gelu(gate) · up``, as one kernel.

    (1 + tanh z) / 2 is 1 / (1 + exp −2z): without the power and the tanh of `nn.gelu_approx`, of
    which a CPU takes three times as long. Here 2z = gate · (a + b · gate²).
    """
    return gate / (1 + mx.exp(-gate * (_A + _B * gate * gate))) * up


class MLP(nn.Module):
    """``down(gelu(gate(x)) · up(x))`` over the last axis."""

    def __init__(self, hidden: int, width: int):
        super().__init__()
        self.gate_proj = nn.Linear(hidden, width, bias=False)
        self.up_proj = nn.Linear(hidden, width, bias=False)
        self.down_proj = nn.Linear(width, hidden, bias=False)

    def __call__(self, x: mx.array) -> mx.array:
        return self.down_proj(gated_gelu(self.gate_proj(x), self.up_proj(x)))
