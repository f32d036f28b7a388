"""The conformer layer: attention for what was said, convolution for how it sounds.

After Gulati et al. 2020, in the form of the Universal Speech Model (Zhang et al. 2023): two
feed-forwards that each add half their output, around local attention and a light convolution.
Gemma 4 norms after each part as well as before it, and clips every projection. Convolution and
attention look backwards only, so what is behind the end of a clip never reaches the clip.
"""

import mlx.core as mx
import mlx.nn as nn

from gemma4_mlx.audio.relative_attention import RelativeAttention
from gemma4_mlx.config import AudioConfig
from gemma4_mlx.nn.clipped_linear import ClippedLinear
from gemma4_mlx.nn.norms import RMSNorm

# The reference takes rms_norm_eps from the config in the light convolution only; the other norms
# of the layer always have this one. All released models have 1e-6 in both places.
_NORM_EPS = 1e-6


def limit(x: mx.array, bound: float) -> mx.array:
    """Clip to ±bound, or to what the dtype of ``x`` can hold when that is less (float16)."""
    bound = min(bound, mx.finfo(x.dtype).max)
    return mx.clip(x, -bound, bound)


class FeedForward(nn.Module):
    """``x + ½ · norm(W₂ silu(W₁ norm(x)))``, four times as wide inside."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        hidden, clipped = config.hidden_size, config.use_clipped_linears
        self.bound, self.residual_weight = config.gradient_clipping, config.residual_weight
        self.pre_layer_norm = RMSNorm(hidden, _NORM_EPS)
        self.ffw_layer_1 = ClippedLinear(hidden, 4 * hidden, clipped)
        self.ffw_layer_2 = ClippedLinear(4 * hidden, hidden, clipped)
        self.post_layer_norm = RMSNorm(hidden, _NORM_EPS)

    def __call__(self, x: mx.array) -> mx.array:
        """(N, F, hidden) → (N, F, hidden)."""
        y = self.pre_layer_norm(limit(x, self.bound))
        y = self.ffw_layer_2(nn.silu(self.ffw_layer_1(y)))
        y = self.post_layer_norm(limit(y, self.bound))
        return x + y * self.residual_weight


class LightConv(nn.Module):
    """A gated, depthwise, causal convolution over a few frames, beside a residual."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        hidden, clipped = config.hidden_size, config.use_clipped_linears
        self.bound, self.kernel_size = config.gradient_clipping, config.conv_kernel_size
        self.pre_layer_norm = RMSNorm(hidden, config.rms_norm_eps)
        self.linear_start = ClippedLinear(hidden, 2 * hidden, clipped)
        self.depthwise_conv1d = nn.Conv1d(
            hidden, hidden, config.conv_kernel_size, groups=hidden, bias=False
        )
        self.conv_norm = RMSNorm(hidden, config.rms_norm_eps)
        self.linear_end = ClippedLinear(hidden, hidden, clipped)

    def __call__(self, x: mx.array) -> mx.array:
        """(N, F, hidden) → (N, F, hidden)."""
        # 1. Gate: one half of the projection opens the other.
        y = nn.glu(self.linear_start(self.pre_layer_norm(x)))

        # 2. Convolve over the frame and those before it, each channel on its own.
        y = mx.pad(y, [(0, 0), (self.kernel_size - 1, 0), (0, 0)])
        y = self.conv_norm(limit(self.depthwise_conv1d(y), self.bound))

        # 3. Project back and add.
        return x + self.linear_end(nn.silu(y))


class ConformerLayer(nn.Module):
    """Feed-forward, attention, light convolution, feed-forward, norm."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.bound = config.gradient_clipping
        self.feed_forward1 = FeedForward(config)
        self.norm_pre_attn = RMSNorm(config.hidden_size, _NORM_EPS)
        self.self_attn = RelativeAttention(config)
        self.norm_post_attn = RMSNorm(config.hidden_size, _NORM_EPS)
        self.lconv1d = LightConv(config)
        self.feed_forward2 = FeedForward(config)
        self.norm_out = RMSNorm(config.hidden_size, _NORM_EPS)

    def __call__(self, x: mx.array, sinusoids: mx.array, mask: mx.array) -> mx.array:
        """(N, F, hidden) → (N, F, hidden); the other two as in RelativeAttention."""
        # 1. Half of a feed-forward.
        x = self.feed_forward1(x)

        # 2. Local attention between two norms.
        y = self.norm_pre_attn(limit(x, self.bound))
        y = self.self_attn(y, sinusoids, mask)
        x = x + self.norm_post_attn(limit(y, self.bound))

        # 3. Light convolution.
        x = self.lconv1d(x)

        # 4. The other half of a feed-forward.
        x = self.feed_forward2(x)

        # 5. The layer ends in a norm: the residual stream does not grow from layer to layer.
        return self.norm_out(limit(x, self.bound))
