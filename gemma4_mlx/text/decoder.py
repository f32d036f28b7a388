"""The decoder: embedding, layers, final norm, tied output layer with soft-capped logits.

Only the layers that own keys and values need every token of a prompt. From the last of them on, a
token whose logits nobody asked for is dropped: in E2B the 20 layers that share keys and values
run for the last token only, and for all but the last chunk of a prompt not at all.
"""

import mlx.core as mx
import mlx.nn as nn

from gemma4_mlx.config import SLIDING, LayerKind, TextConfig
from gemma4_mlx.layer_plan import LayerPlan, plan_layers
from gemma4_mlx.nn.masks import Mask, attention_mask
from gemma4_mlx.nn.norms import RMSNorm
from gemma4_mlx.text.attention import Attention, KeysValues
from gemma4_mlx.text.fused import (
    Beginning,
    Contents,
    FusedStep,
    can_compile,
    steps_before_compiling,
)
from gemma4_mlx.text.kv_cache import KVCache, LayerCache
from gemma4_mlx.text.mlp import MLP
from gemma4_mlx.text.moe import (
    ExpertLinear,
    ExpertMLPs,
    Experts,
    QuantizedExpertLinear,
    Router,
)
from gemma4_mlx.text.per_layer_embeddings import add_per_layer_input, per_layer_inputs


class DecoderLayer(nn.Module):
    """One layer: attention, MLP (with experts beside it in the 26B), per-layer input, scalar."""

    def __init__(self, config: TextConfig, plan: LayerPlan):
        super().__init__()
        hidden, eps = config.hidden_size, config.rms_norm_eps
        self.self_attn = Attention(config, plan)
        self.mlp = MLP(hidden, plan.mlp_width)
        self.input_layernorm = RMSNorm(hidden, eps)
        self.post_attention_layernorm = RMSNorm(hidden, eps)
        self.pre_feedforward_layernorm = RMSNorm(hidden, eps)
        self.post_feedforward_layernorm = RMSNorm(hidden, eps)
        self.layer_scalar = mx.ones((1,))
        if config.hidden_size_per_layer_input:
            width = config.hidden_size_per_layer_input
            self.per_layer_input_gate = nn.Linear(hidden, width, bias=False)
            self.per_layer_projection = nn.Linear(width, hidden, bias=False)
            self.post_per_layer_input_norm = RMSNorm(hidden, eps)
        self.has_experts = plan.has_experts
        if plan.has_experts:
            self.router = Router(config)
            self.experts = Experts(config)
            self.pre_feedforward_layernorm_2 = RMSNorm(hidden, eps)
            self.post_feedforward_layernorm_1 = RMSNorm(hidden, eps)
            self.post_feedforward_layernorm_2 = RMSNorm(hidden, eps)

    def __call__(
        self,
        x: mx.array,
        per_layer_input: mx.array | None,
        *,
        keep: int,
        offset: int,
        mask: Mask,
        cache: LayerCache | None,
        donated: KeysValues | None,
    ) -> tuple[mx.array, KeysValues]:
        """x (B, L, hidden) → (B, keep, hidden), and the keys and values it attended to."""
        # 1. Attention, within two norms ("sandwich").
        attended, seen = self.self_attn(
            self.input_layernorm(x),
            keep=keep,
            offset=offset,
            mask=mask,
            cache=cache,
            donated=donated,
        )
        x = last_tokens(x, keep) + self.post_attention_layernorm(attended)

        # 2. MLP; in the 26B the experts' output is added to the dense one's.
        out = self.mlp(self.pre_feedforward_layernorm(x))
        if self.has_experts:
            chosen, weights = self.router(x)
            routed = self.experts(self.pre_feedforward_layernorm_2(x), chosen, weights)
            out = self.post_feedforward_layernorm_1(out) + self.post_feedforward_layernorm_2(routed)
        x = x + self.post_feedforward_layernorm(out)

        # 3. Per-layer input.
        if per_layer_input is not None:
            x = add_per_layer_input(
                x,
                last_tokens(per_layer_input, keep),
                self.per_layer_input_gate,
                self.per_layer_projection,
                self.post_per_layer_input_norm,
            )

        # 4. The scalar multiplies the whole residual stream.
        return x * self.layer_scalar, seen


class Decoder(nn.Module):
    """The language model. ``embed_tokens_per_layer`` is not in here: its rows are handed in."""

    def __init__(self, config: TextConfig):
        super().__init__()
        self.config = config
        self.plan = plan_layers(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = [DecoderLayer(config, row) for row in self.plan]
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        if config.hidden_size_per_layer_input:
            width = config.num_hidden_layers * config.hidden_size_per_layer_input
            self.per_layer_model_projection = nn.Linear(config.hidden_size, width, bias=False)
            self.per_layer_projection_norm = RMSNorm(
                config.hidden_size_per_layer_input, config.rms_norm_eps
            )
        self._last_owner = max(row.index for row in self.plan if row.kv_donor is None)
        self.compile_steps = can_compile()
        self._fused: FusedStep | None = None
        # All that it was made from, or that it could not be made from; no parameters.
        self._fused_from: Contents | None = None

    def embed(self, ids: mx.array) -> mx.array:
        """Token embeddings (B, L, hidden), scaled by √hidden; the towers' tokens are not scaled."""
        return self.embed_tokens(ids) * self.config.hidden_size**0.5

    def per_layer_inputs(self, embeddings: mx.array, rows: mx.array) -> mx.array:
        """What each layer gets, (B, L, layers, P), from embeddings and table rows."""
        return per_layer_inputs(
            embeddings,
            rows,
            self.per_layer_model_projection,
            self.per_layer_projection_norm,
            self.config,
        )

    def __call__(
        self,
        x: mx.array,
        per_layer: mx.array | None = None,
        *,
        cache: KVCache | None = None,
        keep: int | None = None,
        left_padding: mx.array | None = None,
        blocks: mx.array | None = None,
        beginning: Beginning | None = None,
    ) -> mx.array:
        """Run the layers over embeddings x (B, L, hidden).

        Returns the hidden states of the last ``keep`` tokens (None: of all), (B, keep, hidden).
        With ``keep=0`` only the cache is filled, and the result is empty. ``beginning`` takes what
        of a single token's step may be queued before the rest.
        """
        length = x.shape[1]
        keep = length if keep is None else min(keep, length)
        offset = cache.offset if cache is not None else 0
        masks = self._masks(length, offset, cache, left_padding, blocks)
        if cache is not None:
            fused = self._fused_step(may_have_changed=length > 1 or offset == 0)
            if fused is not None and length == keep == 1:
                rows = None if per_layer is None else per_layer[:, 0]
                return self.norm(fused(x[:, 0], rows, cache, masks, beginning))[:, None]
        seen: dict[int, KeysValues] = {}

        for layer, row in zip(self.layers, self.plan, strict=True):
            if keep == 0 and row.index > self._last_owner:
                break  # the layers that are left only read the cache
            # The last layer that writes keys and values is the last that needs every token.
            # With keep=0 its one query is never evaluated: MLX is lazy.
            wanted = length if row.index < self._last_owner else max(keep, 1)
            x, seen[row.index] = layer(
                x,
                None if per_layer is None else per_layer[:, -x.shape[1] :, row.index],
                keep=min(wanted, x.shape[1]),
                offset=offset + length - x.shape[1],
                mask=masks[row.kind],
                cache=cache.layers[row.index] if cache is not None else None,
                donated=None if row.kv_donor is None else seen[row.kv_donor],
            )
        return self.norm(x) if keep else x[:, :0]

    def logits(self, hidden: mx.array) -> mx.array:
        """Hidden states (B, L, hidden) → logits (B, L, vocab), by the tied embedding, capped."""
        logits = self.embed_tokens.as_linear(hidden)
        cap = self.config.final_logit_softcapping
        return logits if cap is None else soft_cap(logits, cap)

    def _fused_step(self, *, may_have_changed: bool) -> FusedStep | None:
        """The layers for a single token; None with modules (adapters, say) it does not know.

        Made with the first prompt, before its weights are read, for they are then read only once.
        """
        if self._fused_from is None or (may_have_changed and self._fused_from != self._contents()):
            fusible = all(map(_is_fusible, self.layers))
            compile_after = steps_before_compiling() if self.compile_steps else None
            self._fused = FusedStep(self, compile_after=compile_after) if fusible else None
            self._fused_from = self._contents()  # with the views that fusing has put in
        return self._fused

    def _contents(self) -> Contents:
        return Contents(self.layers, self.compile_steps)

    def _masks(
        self,
        length: int,
        offset: int,
        cache: KVCache | None,
        left_padding: mx.array | None,
        blocks: mx.array | None,
    ) -> dict[LayerKind, Mask]:
        masks: dict[LayerKind, Mask] = {}
        for row in self.plan[: self._last_owner + 1]:
            if row.kind in masks or row.kv_donor is not None:
                continue
            layer_cache = cache.layers[row.index] if cache is not None else None
            masks[row.kind] = attention_mask(
                length,
                offset,
                layer_cache.key_positions(length) if layer_cache is not None else length,
                window=row.window,
                left_padding=left_padding,
                blocks=blocks if row.kind == SLIDING else None,
            )
        return masks


_KNOWN = {
    *(DecoderLayer, Attention, MLP, RMSNorm, nn.Linear, nn.QuantizedLinear),
    *(Router, Experts, ExpertMLPs, ExpertLinear, QuantizedExpertLinear),
}


def _is_fusible(layer: nn.Module) -> bool:
    """Whether a layer consists of our own modules alone: what else is in it must be called."""
    return all(type(module) in _KNOWN and "bias" not in module for module in layer.modules())


def last_tokens(x: mx.array, keep: int) -> mx.array:
    """The last ``keep`` tokens of x (B, L, …)."""
    return x if keep == x.shape[1] else x[:, -keep:]


@mx.compile
def soft_cap(logits: mx.array, cap: float) -> mx.array:
    """``cap · tanh(logits / cap)``: bounds the logits without cutting their order."""
    return mx.tanh(logits / cap) * cap
