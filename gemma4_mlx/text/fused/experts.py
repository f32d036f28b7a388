"""The mixture of experts for single tokens: as text/moe.py, in fewer operations.

Deviation: the softmax is taken over the chosen experts alone, which is the same as a softmax over
all of them that is then made to sum to one.
"""

import mlx.core as mx
import numpy as np

from gemma4_mlx.text.fused.linear import (
    Arrays,
    Form,
    Packing,
    Projection,
    Weights,
    operands,
    project,
    weight_of,
)
from gemma4_mlx.text.mlp import gated_gelu
from gemma4_mlx.text.moe import Experts, Router, expert_product


def projections(experts: Experts) -> Projection:
    """Gate, up and down of all experts, each (E, …)."""
    mlps = experts.switch_glu
    return Projection(tuple(map(weight_of, (mlps.gate_proj, mlps.up_proj, mlps.down_proj))))


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
    if packing is None:
        return expert_product(x, arrays[0], lhs_indices=rows, rhs_indices=experts)
    return mx.gather_qmm(
        x,
        *operands(arrays),
        lhs_indices=rows,
        rhs_indices=experts,
        transpose=True,
        **packing._asdict(),
    )
