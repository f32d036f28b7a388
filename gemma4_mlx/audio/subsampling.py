"""Four mel frames become one: two strided convolutions over time and frequency.

Each convolution halves both axes, so 10 ms frames become 40 ms frames and 128 mel bins become
32, with a LayerNorm over channels and a ReLU. Frames behind the end of a clip are set to zero
before each convolution, so a clip sounds the same alone and in a longer batch.
"""

import mlx.core as mx
import mlx.nn as nn

from gemma4_mlx.config import AudioConfig
from gemma4_mlx.errors import InputError


class SubsamplingLayer(nn.Module):
    """3 × 3 convolution with stride 2, LayerNorm without bias, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, eps: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1, bias=False)
        self.norm = nn.LayerNorm(out_channels, eps=eps, bias=False)

    def __call__(self, x: mx.array, mask: mx.array) -> tuple[mx.array, mx.array]:
        """(N, T, M, C_in) and mask (N, T) → (N, ⌈T/2⌉, ⌈M/2⌉, C_out) and its mask."""
        x = mx.where(mask[:, :, None, None], x, 0).astype(self.conv.weight.dtype)
        return nn.relu(self.norm(self.conv(x))), mask[:, ::2]


class Subsampling(nn.Module):
    """Two subsampling layers, then one linear map of a frame's bins and channels to hidden."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        first, second = config.subsampling_conv_channels
        self.layer0 = SubsamplingLayer(1, first, config.rms_norm_eps)
        self.layer1 = SubsamplingLayer(first, second, config.rms_norm_eps)
        # The config does not name the number of mel bins: it equals the first layer's channels.
        self.bins_out = first // 4
        self.input_proj_linear = nn.Linear(self.bins_out * second, config.hidden_size, bias=False)

    def __call__(self, features: mx.array, mask: mx.array) -> tuple[mx.array, mx.array]:
        """Mel frames (N, T, M) and mask (N, T) → (N, ⌈T/4⌉, hidden) and its mask (N, ⌈T/4⌉).

        Raises InputError for another number of mel bins than the model was made for.
        """
        if -(-features.shape[-1] // 4) != self.bins_out:
            raise InputError(
                f"input_features has {features.shape[-1]} mel bins, expected {4 * self.bins_out}; "
                "use the feature extractor that came with the model"
            )
        x, mask = self.layer0(features[..., None], mask)
        x, mask = self.layer1(x, mask)
        return self.input_proj_linear(x.flatten(-2)), mask
