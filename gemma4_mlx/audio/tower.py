"""The audio tower: mel frames in, one soft token per 40 ms out.

E2B and E4B have the same tower of 12 conformer layers. Its output has 1,536 numbers a token on
both, whatever the hidden size of the text model.
"""

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from gemma4_mlx.audio.blocks import LocalBlocks
from gemma4_mlx.audio.conformer import ConformerLayer
from gemma4_mlx.audio.relative_attention import distance_sinusoids
from gemma4_mlx.audio.subsampling import Subsampling
from gemma4_mlx.config import AudioConfig
from gemma4_mlx.errors import InputError


class AudioTower(nn.Module):
    """Clips → soft tokens (see ``__call__``). Tokens are not yet projected to the text model."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.config = config
        self.blocks = LocalBlocks.from_config(config)
        self.subsample_conv_projection = Subsampling(config)
        self.layers = [ConformerLayer(config) for _ in range(config.num_hidden_layers)]
        self.output_proj = nn.Linear(config.hidden_size, config.output_proj_dims)

    def __call__(self, input_features: mx.array, mask: mx.array) -> list[mx.array]:
        """Encode N clips of any lengths.

        ``input_features`` is (N, T, mels), ``mask`` (N, T) is True at real frames. Returns one
        (tokens, output_proj_dims) per clip, without padding, in the dtype of the weights.
        Nothing but ``mask`` is evaluated. Raises InputError for shapes that do not fit.
        """
        _check(input_features, mask)
        # Two convolutions of stride 2 keep every fourth frame; a token is real where that one is.
        is_real = np.array(mask.astype(mx.bool_))[:, ::2][:, ::2]

        # 1. Four mel frames to one frame of the conformer.
        x, valid = self.subsample_conv_projection(input_features, mask.astype(mx.bool_))

        # 2. What all layers share: who sees whom, and the code of each distance.
        local = self.blocks.mask(valid)
        sinusoids = distance_sinusoids(self.blocks, self.config.hidden_size)

        # 3. The conformer.
        for layer in self.layers:
            x = layer(x, sinusoids, local)
        tokens = self.output_proj(x)

        # 4. Strip the padding, clip by clip.
        return [
            clip[mx.array(np.flatnonzero(real))] for clip, real in zip(tokens, is_real, strict=True)
        ]


def _check(input_features: mx.array, mask: mx.array) -> None:
    if input_features.ndim != 3 or input_features.shape[1] == 0:
        raise InputError(
            f"input_features has shape {input_features.shape}, expected (clips, frames, mel bins) "
            "with at least one frame; pass what the feature extractor of this model gives"
        )
    if mask.shape != input_features.shape[:2]:
        raise InputError(
            f"input_features_mask has shape {mask.shape}, expected {input_features.shape[:2]} to "
            "match input_features; pass both from one processor call"
        )
