"""The vision transformer: every patch looks at every patch of its image.

It is the decoder's block turned towards a picture: RMS norms before and after attention and MLP,
a gated MLP, queries and keys normed per head with a learned weight, values normed without one,
and no attention scale (the norms already fix the size of the logits). What differs: attention
runs in both directions, positions are two-dimensional, and every projection is a ClippedLinear.
"""

import mlx.core as mx
import mlx.nn as nn

from gemma4_mlx.config import VisionConfig
from gemma4_mlx.nn.clipped_linear import ClippedLinear
from gemma4_mlx.nn.norms import RMSNorm, rms_norm_no_scale
from gemma4_mlx.nn.rope_2d import rope_2d_angles, rotate_2d

# Head sizes for which Metal has a fused attention kernel over many queries.
_FUSED_HEAD_DIMS = (64, 80, 128)


class VisionAttention(nn.Module):
    """Full attention within an image; H heads, K key/value heads, head dim D."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        hidden, clipped = config.hidden_size, config.use_clipped_linears
        self.head_dim, self.eps = config.head_dim, config.rms_norm_eps
        query_width = config.num_attention_heads * config.head_dim
        key_width = config.num_key_value_heads * config.head_dim
        self.q_proj = ClippedLinear(hidden, query_width, clipped)
        self.k_proj = ClippedLinear(hidden, key_width, clipped)
        self.v_proj = ClippedLinear(hidden, key_width, clipped)
        self.o_proj = ClippedLinear(query_width, hidden, clipped)
        self.q_norm = RMSNorm(config.head_dim, config.rms_norm_eps)
        self.k_norm = RMSNorm(config.head_dim, config.rms_norm_eps)

    def __call__(
        self, x: mx.array, cos: mx.array, sin: mx.array, mask: mx.array | None
    ) -> mx.array:
        """(N, P, hidden) → (N, P, hidden); ``mask`` (N, 1, 1, P) is True at real patches."""
        # 1. Project and cut into heads: (N, P, H or K, D).
        heads = (*x.shape[:2], -1, self.head_dim)
        q = self.q_proj(x).reshape(heads)
        k = self.k_proj(x).reshape(heads)
        v = self.v_proj(x).reshape(heads)

        # 2. Norm all three; turn queries and keys by their place in the image.
        q = rotate_2d(self.q_norm(q), cos, sin)
        k = rotate_2d(self.k_norm(k), cos, sin)
        v = rms_norm_no_scale(v, self.eps)

        # 3. Attend, with scale 1, and mix the heads.
        out = attend(q.swapaxes(1, 2), k.swapaxes(1, 2), v.swapaxes(1, 2), mask)
        return self.o_proj(out.swapaxes(1, 2).flatten(-2))


def attend(
    q: mx.array, k: mx.array, v: mx.array, mask: mx.array | None, width: int | None = None
) -> mx.array:
    """Unscaled attention of q (N, H, P, D) to k and v (N, K, P, D) → (N, H, P, D).

    The heads are padded with zeros to ``width``, by default to what the device does best. Zeros
    add nothing to a logit and only zeros to the output, so the result is the same.
    """
    head_dim = q.shape[-1]
    padding = (width or _best_width(head_dim)) - head_dim
    if padding > 0:
        q, k, v = (mx.pad(heads, [(0, 0)] * 3 + [(0, padding)]) for heads in (q, k, v))
    out = mx.fast.scaled_dot_product_attention(q, k, v, scale=1.0, mask=mask)
    return out[..., :head_dim]


def _best_width(head_dim: int) -> int:
    # The big tower's heads of 72 have no fused kernel on Metal; unfused, the logits of 10,080
    # patches (budget 1120) take 3 GB in bfloat16, fused none. The CPU has no fused kernel.
    if mx.default_device().type != mx.gpu:
        return head_dim
    return next((width for width in _FUSED_HEAD_DIMS if width >= head_dim), head_dim)


class VisionMLP(nn.Module):
    """``down(gelu_tanh(gate(x)) · up(x))`` on (…, hidden)."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        hidden, width = config.hidden_size, config.intermediate_size
        self.gate_proj = ClippedLinear(hidden, width, config.use_clipped_linears)
        self.up_proj = ClippedLinear(hidden, width, config.use_clipped_linears)
        self.down_proj = ClippedLinear(width, hidden, config.use_clipped_linears)

    def __call__(self, x: mx.array) -> mx.array:
        return self.down_proj(nn.gelu_approx(self.gate_proj(x)) * self.up_proj(x))


class VisionEncoderLayer(nn.Module):
    """Attention and MLP, each between two norms and beside a residual."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        hidden, eps = config.hidden_size, config.rms_norm_eps
        self.self_attn = VisionAttention(config)
        self.mlp = VisionMLP(config)
        self.input_layernorm = RMSNorm(hidden, eps)
        self.post_attention_layernorm = RMSNorm(hidden, eps)
        self.pre_feedforward_layernorm = RMSNorm(hidden, eps)
        self.post_feedforward_layernorm = RMSNorm(hidden, eps)

    def __call__(
        self, x: mx.array, cos: mx.array, sin: mx.array, mask: mx.array | None
    ) -> mx.array:
        """(N, P, hidden) → (N, P, hidden)."""
        # 1. Attention: norm, attend, norm again, add.
        attended = self.self_attn(self.input_layernorm(x), cos, sin, mask)
        x = x + self.post_attention_layernorm(attended)

        # 2. MLP: the same.
        transformed = self.mlp(self.pre_feedforward_layernorm(x))
        return x + self.post_feedforward_layernorm(transformed)


class VisionEncoder(nn.Module):
    """The stack of layers. No norm ends it: the projector to the text model begins with one."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.head_dim, self.theta = config.head_dim, config.rope_theta
        self.layers = [VisionEncoderLayer(config) for _ in range(config.num_hidden_layers)]

    def __call__(
        self, x: mx.array, position_ids: mx.array, mask: mx.array | None = None
    ) -> mx.array:
        """(N, P, hidden) at ``position_ids`` (N, P, 2) → (N, P, hidden).

        ``mask`` (N, P) is True at real patches; None where no image is padded. What comes out at
        padding patches means nothing.
        """
        cos, sin = rope_2d_angles(position_ids, self.head_dim, self.theta)
        keys = None if mask is None else mask[:, None, None, :]
        for layer in self.layers:
            x = layer(x, cos, sin, keys)
        return x
