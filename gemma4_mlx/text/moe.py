"""Mixture of experts of the 26B: a router picks 8 of 128 small MLPs for every token.

The experts run beside the layer's dense MLP, not instead of it. The router reads the residual
through an RMS norm without a weight of its own, times a learned ``scale`` and hidden^−0.5; it
takes a softmax over all experts, keeps the top k, makes those sum to one, and multiplies each by
a learned ``per_expert_scale``.

Source: transformers ``modeling_gemma4`` (Gemma4TextRouter, Gemma4TextExperts). There gate and up
are one tensor; here, as in MLX conversions, they are two.
"""

from typing import Any

import mlx.core as mx
import mlx.nn as nn

from gemma4_mlx.config import TextConfig
from gemma4_mlx.text.mlp import gated_gelu

# From this many (token, expert) pairs on, sorting by expert pays: each expert is read once.
_SORT_FROM = 64
# Tokens of a tile, where tiles are multiplied instead of tokens.
_TILE, _LEAST_TILE = 128, 8


class Router(nn.Module):
    """Chooses experts: (B, L, hidden) → indices and weights, both (B, L, top k)."""

    def __init__(self, config: TextConfig):
        super().__init__()
        self.top_k = config.top_k_experts
        self.eps = config.rms_norm_eps
        self.root_size = config.hidden_size**-0.5
        self.proj = nn.Linear(config.hidden_size, config.num_experts, bias=False)
        self.scale = mx.ones((config.hidden_size,))
        self.per_expert_scale = mx.ones((config.num_experts,))

    def __call__(self, x: mx.array) -> tuple[mx.array, mx.array]:
        scores = self.proj(mx.fast.rms_norm(x, self.scale * self.root_size, self.eps))
        probabilities = mx.softmax(scores.astype(mx.float32), axis=-1)
        chosen = mx.argpartition(-probabilities, self.top_k - 1, axis=-1)[..., : self.top_k]
        weights = mx.take_along_axis(probabilities, chosen, axis=-1)
        weights = weights / weights.sum(axis=-1, keepdims=True)
        return chosen, (weights * self.per_expert_scale[chosen]).astype(x.dtype)


def expert_product(x: mx.array, weight: mx.array, **indices: Any) -> mx.array:
    """``mx.gather_mm``, in the dtype of x (…, in) for weights (E, in, out)."""
    dtype = x.dtype
    if _on_cpu():  # whose gather_mm knows float32 alone
        x, weight = x.astype(mx.float32), weight.astype(mx.float32)
    return mx.gather_mm(x, weight, **indices).astype(dtype)


class ExpertLinear(nn.Module):
    """One linear layer per expert: ``weight`` (E, out, in)."""

    def __init__(self, experts: int, inputs: int, outputs: int):
        super().__init__()
        self.weight = mx.zeros((experts, outputs, inputs))

    def __call__(self, x: mx.array, experts: mx.array, is_sorted: bool) -> mx.array:
        return expert_product(
            x, self.weight.swapaxes(-1, -2), rhs_indices=experts, sorted_indices=is_sorted
        )

    def to_quantized(
        self, group_size: int | None = None, bits: int | None = None, mode: str = "affine"
    ) -> "QuantizedExpertLinear":
        """Called by ``mlx.nn.quantize``."""
        return QuantizedExpertLinear(self.weight, group_size, bits, mode)


class QuantizedExpertLinear(nn.Module):
    """ExpertLinear with packed weights; ``biases`` exist in affine mode only."""

    def __init__(self, weight: mx.array, group_size: int | None, bits: int | None, mode: str):
        super().__init__()
        self.group_size, self.bits, self.mode = group_size, bits, mode
        self.weight, self.scales, *biases = mx.quantize(weight, group_size, bits, mode=mode)
        if biases:
            self.biases = biases[0]
        self.freeze()

    def __call__(self, x: mx.array, experts: mx.array, is_sorted: bool) -> mx.array:
        return mx.gather_qmm(
            x,
            self.weight,
            self.scales,
            self.get("biases"),
            rhs_indices=experts,
            transpose=True,
            group_size=self.group_size,
            bits=self.bits,
            mode=self.mode,
            sorted_indices=is_sorted,
        )


class ExpertMLPs(nn.Module):
    """The gated MLPs of all experts, under the tensor names of MLX conversions."""

    def __init__(self, experts: int, hidden: int, width: int):
        super().__init__()
        self.gate_proj = ExpertLinear(experts, hidden, width)
        self.up_proj = ExpertLinear(experts, hidden, width)
        self.down_proj = ExpertLinear(experts, width, hidden)

    def __call__(self, x: mx.array, chosen: mx.array) -> mx.array:
        """x (B, L, hidden), chosen (B, L, k) → (B, L, k, hidden), one output per choice."""
        experts = self.gate_proj.weight.shape[0]
        tile = min(_TILE, chosen.size // experts // 4)
        # Metal's kernel finds the tokens of an expert in the sorted list. The CPU's multiplies
        # matrix by matrix, which for single tokens is many times slower than for a tile of them;
        # packed weights it unpacks for every token anyway.
        if tile >= _LEAST_TILE and _on_cpu() and isinstance(self.gate_proj, ExpertLinear):
            rows, numbers, places = _tiles(chosen, experts, tile)
            is_sorted = False
        elif chosen.size >= _SORT_FROM:
            order = mx.argsort(chosen.flatten())
            rows, numbers = (order // chosen.shape[-1])[:, None], chosen.flatten()[order]
            places, is_sorted = mx.argsort(order), True
        else:
            rows = mx.arange(chosen.size)[:, None] // chosen.shape[-1]
            numbers, places, is_sorted = chosen.flatten(), None, False
        hidden = x.shape[-1]
        tokens = x.reshape(-1, hidden)[rows]
        gate = self.gate_proj(tokens, numbers, is_sorted)
        up = self.up_proj(tokens, numbers, is_sorted)
        out = self.down_proj(gated_gelu(gate, up), numbers, is_sorted).reshape(-1, hidden)
        return (out if places is None else out[places]).reshape(*chosen.shape, hidden)


def _tiles(chosen: mx.array, experts: int, tile: int) -> tuple[mx.array, mx.array, mx.array]:
    """Choices (B, L, k) as tiles of ``tile`` tokens that go to the same expert.

    Returns the tokens of every tile (tiles, tile), its expert (tiles,), and the place in that
    list of every choice (B·L·k,). How many tiles an expert fills is not known while the graph is
    built, but all together no more than there would be if each had one that is nearly empty; what
    is left of them computes the first token to no end.
    """
    flat = chosen.flatten()
    counts = (flat[:, None] == mx.arange(experts)).sum(axis=0)
    filled = (counts + tile - 1) // tile  # tiles of each expert
    ends = mx.cumsum(filled)
    order = mx.argsort(flat)
    # From the place in the list sorted by expert to that in the list of tiles.
    shift = (ends - filled) * tile - (mx.cumsum(counts) - counts)
    moved = mx.arange(flat.size) + shift[flat[order]]
    tiles = flat.size // tile + experts
    tokens = mx.zeros((tiles * tile,), dtype=order.dtype)
    tokens[moved] = order // chosen.shape[-1]
    owner = (mx.arange(tiles)[:, None] >= ends).sum(axis=1)
    return tokens.reshape(tiles, tile), mx.minimum(owner, experts - 1), moved[mx.argsort(order)]


def _on_cpu() -> bool:
    return mx.default_device() == mx.cpu


class Experts(nn.Module):
    """The chosen experts' outputs, weighted and summed: (B, L, hidden)."""

    def __init__(self, config: TextConfig):
        super().__init__()
        self.switch_glu = ExpertMLPs(
            config.num_experts, config.hidden_size, config.moe_intermediate_size
        )

    def __call__(self, x: mx.array, chosen: mx.array, weights: mx.array) -> mx.array:
        return (self.switch_glu(x, chosen) * weights[..., None]).sum(axis=-2)
