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


@dataclass(frozen=True)
class SoftTokens:
    """The towers' projected outputs by modality, each (tokens, hidden), in reading order."""

    by_modality: dict[int, mx.array]

    def check(self, types: np.ndarray) -> None:
        """InputError unless there is one token for every placeholder in types (B, L).

        A single new token that is a placeholder was generated, and stands for no media.
        """
        if types.shape[1] == 1 and not self.by_modality:
            return
        for modality, name in MODALITIES.items():
            places = int((types == modality).sum())
            tokens = self.by_modality.get(modality)
            given = 0 if tokens is None else tokens.shape[0]
            if places != given:
                raise InputError(
                    f"the {name} encoder gave {given} tokens, but the prompt has {places} {name} "
                    f"placeholders: pass exactly the {name} inputs that the prompt was made for"
                )


def placeholder_ranks(types: np.ndarray) -> np.ndarray:
    """Which token of its modality each placeholder of types (B, L) is, row after row; (B, L).

    Worked out for a whole prompt, it tells every chunk of it where its tokens lie.
    """
    ranks = np.zeros(types.size, dtype=np.int64)
    flat = types.ravel()
    for modality in MODALITIES:
        places = flat == modality
        ranks[places] = np.arange(places.sum())
    return ranks.reshape(types.shape)


def splice(x: mx.array, types: np.ndarray, ranks: np.ndarray, soft_tokens: SoftTokens) -> mx.array:
    """Replace the embeddings x (B, L, hidden) at placeholders by the towers' tokens."""
    hidden = x.shape[-1]
    for modality, tokens in soft_tokens.by_modality.items():
        where = types == modality
        if where.any():
            flat = x.reshape(-1, hidden)
            flat[mx.array(np.flatnonzero(where))] = tokens[mx.array(ranks[where])].astype(x.dtype)
            x = flat.reshape(x.shape)
    return x


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
