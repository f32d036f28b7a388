"""Tiny audio towers, and batches of clips of unequal length."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from gemma4_mlx.audio import AudioTower
from gemma4_mlx.config import AudioConfig
from tests.vision.tower_weights import copy_to_torch

MELS = 16
RELEASED = AudioConfig(
    hidden_size=32,
    num_hidden_layers=3,
    num_attention_heads=2,
    subsampling_conv_channels=(MELS, 8),
    conv_kernel_size=5,
    residual_weight=0.5,
    attention_chunk_size=12,
    attention_context_left=13,
    attention_context_right=0,
    attention_logit_cap=50.0,
    attention_invalid_logits_value=-1e9,
    use_clipped_linears=True,
    rms_norm_eps=1e-6,
    gradient_clipping=1e10,
    output_proj_dims=40,
)
# Every number of the config must be read, not assumed: other blocks, a look ahead, a low cap, a
# bound on activations that is reached, another kernel and another eps.
CONFIGS = {
    "released": RELEASED,
    "other-blocks": replace(
        RELEASED, attention_chunk_size=4, attention_context_left=7, attention_context_right=3
    ),
    "other-numbers": replace(
        RELEASED,
        use_clipped_linears=False,
        attention_logit_cap=2.0,
        gradient_clipping=0.6,
        conv_kernel_size=3,
        residual_weight=0.3,
        rms_norm_eps=1e-2,
    ),
}
# Frames of 10 ms. In tokens: 49, 25, 24, 13, 12, 11, 1 and 1, around the blocks of 12.
FRAMES = [195, 97, 96, 49, 48, 44, 3, 1]


def reference_tower(config: AudioConfig, tower: AudioTower) -> Any:
    """Build transformers' Gemma4AudioModel with the weights of ``tower``."""
    pytest.importorskip("torch", reason="the comparison with transformers needs torch")
    from transformers.models.gemma4.configuration_gemma4 import Gemma4AudioConfig
    from transformers.models.gemma4.modeling_gemma4 import Gemma4AudioModel

    model = Gemma4AudioModel(Gemma4AudioConfig(**asdict(config)))
    copy_to_torch(tower, model)
    return model


def make_clips(frames: Sequence[int], length: int | None = None) -> tuple[mx.array, mx.array]:
    """Mel features (N, length, MELS) and their mask. Padding is random: it must not matter."""
    draw = np.random.RandomState(1)
    length = length or max(frames)
    features = draw.normal(-2.0, 2.0, (len(frames), length, MELS)).astype(np.float32)
    mask = np.arange(length) < np.array(frames)[:, None]
    return mx.array(features), mx.array(mask)


def to_torch(*arrays: mx.array) -> list[Any]:
    """The same arrays as tensors."""
    import torch

    return [torch.tensor(np.array(array)) for array in arrays]
