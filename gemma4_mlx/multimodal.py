"""Where the towers' outputs meet the text: modalities, projectors, soft tokens and the splice.

A prompt holds one placeholder id per token that a tower will give. The embeddings there are
replaced, in reading order, by the projected outputs of the vision and audio towers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from gemma4_mlx.errors import InputError
from gemma4_mlx.nn.norms import rms_norm_no_scale

TEXT, IMAGE, VIDEO, AUDIO = 0, 1, 2, 3  # the values of mm_token_type_ids
MODALITIES = {IMAGE: "image", VIDEO: "video", AUDIO: "audio"}


class Projector(nn.Module):
    """From a tower's width to the decoder's: an RMS norm without weight, then a linear layer."""

    def __init__(self, tower_width: int, hidden: int, eps: float):
        super().__init__()
        self.eps = eps
        self.embedding_projection = nn.Linear(tower_width, hidden, bias=False)

    def __call__(self, tokens: mx.array) -> mx.array:
        return self.embedding_projection(rms_norm_no_scale(tokens, self.eps))


@dataclass
class SoftTokens:
    """The towers' projected outputs by modality, each (tokens, hidden), in reading order.

    ``take`` hands them out front to back, so that a prompt can be spliced chunk by chunk.
    """

    by_modality: dict[int, mx.array]

    def check(self, types: np.ndarray) -> None:
        """InputError unless there is one token for every placeholder in types (B, L)."""
        for modality, tokens in self.by_modality.items():
            places = int((types == modality).sum())
            if places != tokens.shape[0]:
                name = MODALITIES[modality]
                raise InputError(
                    f"the {name} encoder gave {tokens.shape[0]} tokens, but the prompt has "
                    f"{places} {name} placeholders: pass the {name}s the prompt was made for"
                )

    def take(self, modality: int, count: int) -> mx.array:
        """The next ``count`` tokens of a modality."""
        tokens = self.by_modality[modality]
        self.by_modality[modality] = tokens[count:]
        return tokens[:count]


def splice(x: mx.array, where: np.ndarray, soft_tokens: SoftTokens, modality: int) -> mx.array:
    """Replace the embeddings at ``where`` (B, L) by the next tokens of a modality."""
    places = np.flatnonzero(where)
    if places.size == 0:
        return x
    tokens = soft_tokens.take(modality, places.size)
    flat = x.reshape(-1, x.shape[-1])
    flat[mx.array(places)] = tokens.astype(x.dtype)
    return flat.reshape(x.shape)


def media_inputs(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a processor's output that ``encode_media`` takes."""
    names = (
        "pixel_values",
        "image_position_ids",
        "pixel_values_videos",
        "video_position_ids",
        "num_frames_per_video",
        "input_features",
        "input_features_mask",
    )
    return {name: inputs[name] for name in names if inputs.get(name) is not None}
