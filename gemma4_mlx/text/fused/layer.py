"""A decoder layer for single tokens, cut at its attention: what comes before it, and what after.

The two halves are functions of arrays alone, weights included, so that one trace serves all layers
of a kind. Tensors are (B, …) without the axis of the one token; heads are (B, H, 1, D), which for
a single token needs no transposing. Queries, keys and values come from one product, are normed
without a weight in one call, multiplied by their weights in one and turned in one: a value is
turned by position 0, which leaves it as it is.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import mlx.core as mx

from gemma4_mlx.layer_plan import LayerPlan
from gemma4_mlx.text.fused import experts
from gemma4_mlx.text.fused.linear import Form, Projection, fuse, project, single
from gemma4_mlx.text.mlp import gated_gelu
from gemma4_mlx.text.one_tensor import OneTensor

if TYPE_CHECKING:
    from gemma4_mlx.text.attention import Attention
    from gemma4_mlx.text.decoder import DecoderLayer

Weights = dict[str, Any]

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
class BeforeForm:
    """What the first halves of two layers must share for one trace to serve both."""

    qkv: Form
    heads: int
    kv_heads: int  # 0: it borrows keys and values
    head_dim: int
    turned: int  # numbers of a head that the call of rope covers
    theta: float | None
    turns_values: bool  # with queries and keys, by a position for each head
    one_tensor: bool
    eps: float


@dataclass(frozen=True)
class AfterForm:
    """The same of the second halves; () stands for a projection that there is not."""

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


class Before(NamedTuple):
    """The first half of a layer: its form, and the arrays that its function is called with."""

    form: BeforeForm
    weights: Weights


class After(NamedTuple):
    """The second half of a layer."""

    form: AfterForm
    weights: Weights


# --- before the attention ------------------------------------------------------------------------


def before(layer: "DecoderLayer", donor: "Attention", eps: float) -> Before:
    """The first half of a layer; ``donor`` owns the keys and values that it reads."""
    attention, plan = layer.self_attn, layer.self_attn.plan
    one, owns = attention.one_tensor, plan.kv_donor is None
    modules = [attention.q_proj]
    if owns:
        modules += [attention.k_proj] if plan.k_eq_v else [attention.k_proj, attention.v_proj]
    projection = fuse(*modules)
    weights: Weights = {
        "qkv": projection.arrays,
        "input_layernorm": layer.input_layernorm.weight,
        "heads": _weights_of_heads(attention, donor, plan, one),
    }
    if attention.rope.periods is not None:
        weights["periods"] = attention.rope.periods
    if one is not None:
        weights["key_order"] = one.key_order
    form = BeforeForm(
        qkv=projection.form,
        heads=plan.num_heads,
        kv_heads=plan.num_kv_heads if owns else 0,
        head_dim=plan.head_dim,
        turned=attention.rope.dims,
        theta=attention.rope.theta if attention.rope.periods is None else None,
        turns_values=owns and not plan.k_eq_v,
        one_tensor=one is not None,
        eps=eps,
    )
    return Before(form, weights)


def _weights_of_heads(
    attention: "Attention", donor: "Attention", plan: LayerPlan, one: OneTensor | None
) -> mx.array:
    """The norm weights of queries, keys and values: (heads, 1, D), or (D,) of queries alone."""
    queries, keys = attention.q_norm.weight, donor.k_norm.weight
    if one is not None:
        queries, keys = one.weight_of_queries(queries, keys), one.weight_of_keys(keys)
    if plan.kv_donor is not None:
        return queries
    each = [queries] * plan.num_heads + [keys[: plan.head_dim]] * plan.num_kv_heads
    if not plan.k_eq_v:
        each += [mx.ones_like(keys)] * plan.num_kv_heads
    return mx.stack(each)[:, None]


def queries_keys_values(
    form: BeforeForm, weights: Weights, x: mx.array, position: mx.array
) -> tuple[mx.array, ...]:
    """x (B, hidden) → queries (B, H, 1, D) and, in a layer with its own, what the cache is to keep.

    ``position`` of the token; where values are turned too, one for each of the B · heads.
    """
    rows = x.shape[0]
    projected = project(
        mx.fast.rms_norm(x, weights["input_layernorm"], form.eps), form.qkv, weights["qkv"]
    )
    if form.turns_values:
        heads = projected.reshape(-1, 1, 1, form.head_dim)
        normed = mx.fast.rms_norm(heads, None, form.eps)
        if rows > 1:
            normed = normed.reshape(rows, -1, 1, form.head_dim) * weights["heads"]
            normed = normed.reshape(-1, 1, 1, form.head_dim)
        else:
            normed = normed * weights["heads"][:, None]
        turned = _turned(form, weights, normed, position).reshape(rows, -1, 1, form.head_dim)
        queries, kept = mx.split(turned, [form.heads], axis=1)
        return queries, kept

    heads = projected.reshape(rows, -1, 1, form.head_dim)
    if form.one_tensor:
        heads = mx.take_along_axis(heads, weights["key_order"], axis=-1)
    if not form.kv_heads:
        normed = mx.fast.rms_norm(heads, weights["heads"], form.eps)
        return (_turned(form, weights, normed, position),)

    normed = mx.fast.rms_norm(heads, None, form.eps)
    turned = _turned(form, weights, normed * weights["heads"], position)
    queries, keys = mx.split(turned, [form.heads], axis=1)
    values = normed[:, form.heads :]
    if form.one_tensor:  # the columns that keys and values do not share
        return queries, mx.concatenate([keys, values[..., : form.turned]], axis=-1)
    return queries, mx.concatenate([keys, values], axis=1)


def _turned(form: BeforeForm, weights: Weights, x: mx.array, position: mx.array) -> mx.array:
    if form.turned == 0:
        return x
    return mx.fast.rope(
        x,
        form.turned,
        traditional=False,
        base=form.theta,
        scale=1.0,
        offset=position,
        freqs=weights.get("periods"),
    )


# --- after the attention -------------------------------------------------------------------------


def after(layer: "DecoderLayer", eps: float) -> After:
    """The second half of a layer."""
    projections: dict[str, Projection] = {
        "o_proj": single(layer.self_attn.o_proj),
        "gate_up": fuse(layer.mlp.gate_proj, layer.mlp.up_proj),
        "down_proj": single(layer.mlp.down_proj),
    }
    norms = ["post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm"]
    weights: Weights = {"layer_scalar": layer.layer_scalar}
    if "per_layer_input_gate" in layer:
        projections["per_layer_input_gate"] = single(layer.per_layer_input_gate)
        projections["per_layer_projection"] = single(layer.per_layer_projection)
        norms.append("post_per_layer_input_norm")
    if layer.has_experts:
        projections["router"] = single(layer.router.proj)
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
    both = project(norm(x, w["pre_feedforward_layernorm"], eps), form.gate_up, w["gate_up"])
    out = project(gated_gelu(*mx.split(both, 2, axis=-1)), form.down_proj, w["down_proj"])
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
