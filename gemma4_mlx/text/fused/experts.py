"""The mixture of experts for single tokens: as text/moe.py, in fewer operations.

Deviation: the softmax is taken over the chosen experts alone, which is the same as a softmax over
all of them that is then made to sum to one.
"""

from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from gemma4_mlx.text.fused.linear import (
    Arrays,
    Form,
    Packing,
    Projection,
    Unsupported,
    Weight,
    project,
)
from gemma4_mlx.text.mlp import gated_gelu
from gemma4_mlx.text.moe import ExpertLinear, Experts, QuantizedExpertLinear, Router

Weights = dict[str, Any]


def projections(experts: Experts) -> Projection:
    """Gate, up and down of all experts, each (E, …)."""
    mlps = experts.switch_glu
    return Projection(tuple(map(_weight_of, (mlps.gate_proj, mlps.up_proj, mlps.down_proj))))


def _weight_of(module: nn.Module) -> Weight:
    if type(module) is ExpertLinear:
        return Weight(None, (module.weight.swapaxes(-1, -2),))
    if type(module) is QuantizedExpertLinear:
        packing = Packing(module.group_size, module.bits, module.mode)
        biases = () if module.get("biases") is None else (module["biases"],)
        return Weight(packing, (module["weight"], module["scales"], *biases))
    raise Unsupported(type(module).__name__)


def router_weights(router: Router) -> Weights:
    """What the router multiplies with, besides its projection."""
    return {
        "router_scale": router.scale * router.root_size,
        "router_per_expert_scale": router.per_expert_scale[None].astype(mx.float32),
    }


def choose(
    x: mx.array, form: Form, weights: Weights, top_k: int, eps: float
) -> tuple[mx.array, mx.array]:
    """x (B, hidden) → the experts chosen and what each counts, both (B, top k)."""
    normed = mx.fast.rms_norm(x, weights["router_scale"], eps)
    scores = project(normed, form, weights["router"]).astype(mx.float32)
    chosen = mx.argpartition(-scores, top_k - 1, axis=-1)[:, :top_k]
    shares = mx.softmax(mx.take_along_axis(scores, chosen, axis=-1), axis=-1)
    scale = mx.take_along_axis(weights["router_per_expert_scale"], chosen, axis=-1)
    return chosen, (shares * scale).astype(x.dtype)


def choices(rows: int, top_k: int) -> tuple[mx.array, mx.array]:
    """Which row of x each of the rows · k choices reads, and the numbers of the choices."""
    each = np.arange(rows * top_k, dtype=np.uint32)
    return mx.array(each // top_k), mx.array(each)


def run(
    x: mx.array,
    routed: tuple[mx.array, mx.array],
    projections: tuple[Form, tuple[Arrays, ...]],
    choices: tuple[mx.array, mx.array],
) -> mx.array:
    """x (B, hidden) → the weighted sum (B, hidden) of what the chosen experts give."""
    rows, hidden = x.shape
    chosen, shares = routed
    reads, each = choices
    experts = chosen.reshape(-1)
    gate, up, down = zip(*projections, strict=True)
    x = x[:, None]
    inner = gated_gelu(_times(x, gate, reads, experts), _times(x, up, reads, experts))
    out = _times(inner, down, each, experts).reshape(rows, -1, hidden)
    return (out * shares[..., None]).sum(axis=1)


def _times(
    x: mx.array, weight: tuple[Packing | None, Arrays], rows: mx.array, experts: mx.array
) -> mx.array:
    packing, arrays = weight
    if packing is not None:
        numbers, scales, *biases = arrays
        return mx.gather_qmm(
            x,
            numbers,
            scales,
            biases[0] if biases else None,
            lhs_indices=rows,
            rhs_indices=experts,
            transpose=True,
            group_size=packing.group_size,
            bits=packing.bits,
            mode=packing.mode,
        )
    (matrix,), dtype = arrays, x.dtype
    if mx.default_device() == mx.cpu:  # whose gather_mm knows float32 alone
        x, matrix = x.astype(mx.float32), matrix.astype(mx.float32)
    out = mx.gather_mm(x, matrix, lhs_indices=rows, rhs_indices=experts)
    return out.astype(dtype)
