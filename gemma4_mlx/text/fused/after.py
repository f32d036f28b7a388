"""What a decoder layer computes for a single token after its attention, in few operations.

The steps are those of `DecoderLayer`. It is a function of arrays alone, weights included, so that
one trace serves all layers of a kind.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import mlx.core as mx

from gemma4_mlx.text.fused import experts
from gemma4_mlx.text.fused.linear import (
    Form,
    Projection,
    Weights,
    apart,
    both,
    project,
    project_both,
)
from gemma4_mlx.text.mlp import gated_gelu

if TYPE_CHECKING:
    from gemma4_mlx.text.decoder import DecoderLayer

_PROJECTIONS = (
    "o_proj",
    "gate_up",
    "down_proj",
    "per_layer_input_gate",
    "per_layer_projection",
    "router",
    "experts",
)


@dataclass(frozen=True)
class AfterForm:
    """What the second halves of two layers must share for one trace to serve both.

    () stands for a projection that there is not.
    """

    o_proj: Form
    gate_up: Form
    down_proj: Form
    per_layer_input_gate: Form
    per_layer_projection: Form
    router: Form
    experts: Form
    one_tensor: bool
    top_k: int  # 0: no experts
    eps: float


class After(NamedTuple):
    """The second half of a layer."""

    form: AfterForm
    weights: Weights


def after(layer: "DecoderLayer", eps: float) -> After:
    """The second half of a layer."""
    projections: dict[str, Projection] = {
        "o_proj": apart(layer.self_attn.o_proj),
        "gate_up": both(layer.mlp.gate_proj, layer.mlp.up_proj),
        "down_proj": apart(layer.mlp.down_proj),
    }
    norms = ["post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm"]
    weights: Weights = {"layer_scalar": layer.layer_scalar}
    if "per_layer_input_gate" in layer:
        projections["per_layer_input_gate"] = apart(layer.per_layer_input_gate)
        projections["per_layer_projection"] = apart(layer.per_layer_projection)
        norms.append("post_per_layer_input_norm")
    if layer.has_experts:
        projections["router"] = apart(layer.router.proj)
        projections["experts"] = experts.projections(layer.experts)
        weights |= experts.router_weights(layer.router)
        norms += [
            "pre_feedforward_layernorm_2",
            "post_feedforward_layernorm_1",
            "post_feedforward_layernorm_2",
        ]
    weights |= {name: layer[name].weight for name in norms}
    weights |= {name: projection.arrays for name, projection in projections.items()}
    one = layer.self_attn.one_tensor
    if one is not None:
        weights |= {"value_order": one.value_order, "value_order_within": one.value_order_within}
    form = AfterForm(
        **{name: projections[name].form if name in projections else () for name in _PROJECTIONS},
        one_tensor=one is not None,
        top_k=layer.router.top_k if layer.has_experts else 0,
        eps=eps,
    )
    return After(form, weights)


def rest_of_layer(
    form: AfterForm,
    weights: Weights,
    x: mx.array,
    attended: mx.array,
    per_layer_input: mx.array | None,
    choices: tuple[mx.array, mx.array] | None,
) -> mx.array:
    """x (B, hidden), attended (B, H, 1, …), the layer's (B, P) → x after the layer.

    ``choices``: see experts.run; None in a layer without.
    """

    w, eps, norm = weights, form.eps, mx.fast.rms_norm

    # 1. Attention, within two norms.
    if form.one_tensor:
        whole = attended.shape[-1] > w["value_order"].shape[-1]
        order = w["value_order_within" if whole else "value_order"]
        attended = mx.take_along_axis(attended, order, axis=-1)
    out = project(attended.reshape(x.shape[0], -1), form.o_proj, w["o_proj"])
    x = x + norm(out, w["post_attention_layernorm"], eps)

    # 2. MLP; in the 26B the experts' output is added to the dense one's.
    normed = norm(x, w["pre_feedforward_layernorm"], eps)
    gate, up = project_both(normed, form.gate_up, w["gate_up"])
    out = project(gated_gelu(gate, up), form.down_proj, w["down_proj"])
    if choices is not None:
        chosen = experts.choose(x, form.router, w, form.top_k, eps)
        read = norm(x, w["pre_feedforward_layernorm_2"], eps)
        routed = experts.run(read, chosen, (form.experts, w["experts"]), choices)
        out = norm(out, w["post_feedforward_layernorm_1"], eps)
        out = out + norm(routed, w["post_feedforward_layernorm_2"], eps)
    out = norm(out, w["post_feedforward_layernorm"], eps)

    # 3. Per-layer input.
    if per_layer_input is not None:
        x = x + out
        gate = project(x, form.per_layer_input_gate, w["per_layer_input_gate"])
        gate = gated_gelu(gate, per_layer_input)
        out = project(gate, form.per_layer_projection, w["per_layer_projection"])
        out = norm(out, w["post_per_layer_input_norm"], eps)

    # 4. The scalar multiplies the whole residual stream.
    return _added_and_scaled(x, out, w["layer_scalar"])


@mx.compile
def _added_and_scaled(x: mx.array, y: mx.array, scalar: mx.array) -> mx.array:
    return (x + y) * scalar
