"""What a decoder layer computes for a single token before its attention, in few operations.

Queries, keys and values come from one product, are normed without a weight in one call, multiplied
by their weights in one and turned in one: a value is turned by position 0, which leaves it as it
is. Heads are (B, H, 1, D), which for a single token needs no transposing.

It is a function of arrays alone, weights included, so that one trace serves all layers of a kind.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import mlx.core as mx

from gemma4_mlx.layer_plan import LayerPlan
from gemma4_mlx.text.fused.linear import Form, Weights, fuse, project
from gemma4_mlx.text.one_tensor import OneTensor

if TYPE_CHECKING:
    from gemma4_mlx.text.attention import Attention
    from gemma4_mlx.text.decoder import DecoderLayer


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


class Before(NamedTuple):
    """The first half of a layer: its form, and the arrays that its function is called with."""

    form: BeforeForm
    weights: Weights


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
    """The norm weights of queries, keys and values, as these lie; (D,) of queries alone."""
    queries, keys = attention.q_norm.weight, donor.k_norm.weight
    if one is not None:
        queries, keys = one.weight_of_queries(queries, keys), one.weight_of_keys(keys)
    if plan.kv_donor is not None:
        return queries
    each = [queries] * plan.num_heads + [keys[: plan.head_dim]] * plan.num_kv_heads
    if plan.k_eq_v:
        return mx.stack(each)[:, None]
    each += [mx.ones_like(keys)] * plan.num_kv_heads
    return mx.stack(each)[:, None, None]


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
        if rows == 1:
            normed = normed * weights["heads"]
        else:
            normed = normed.reshape(rows, -1, 1, 1, form.head_dim) * weights["heads"]
            normed = normed.reshape(-1, 1, 1, form.head_dim)
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
