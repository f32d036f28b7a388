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

from gemma4_mlx.config import Gemma4Config, Modality
from gemma4_mlx.errors import InputError
from gemma4_mlx.nn.norms import rms_norm_no_scale


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

    by_modality: dict[Modality, mx.array]

    def check(self, types: np.ndarray) -> None:
        """InputError unless there is one token for every placeholder in types (B, L).

        A single new token that is a placeholder was generated, and stands for no media.
        """
        if types.shape[1] == 1 and not self.by_modality:
            return
        for modality in Modality:
            name = modality.name.lower()
            places = int((types == modality).sum())
            tokens = self.by_modality.get(modality)
            given = 0 if tokens is None else tokens.shape[0]
            if places != given:
                raise InputError(
                    f"the {name} encoder gave {given} tokens, but the prompt has {places} {name} "
                    f"placeholders: pass exactly the {name} inputs that the prompt was made for"
                )


@dataclass(frozen=True)
class TokenLayout:
    """What stands at each position of a prompt, or of a chunk of it; every array is (B, L).

    ``types`` are those of the ids. ``ranks`` count the placeholders of a modality, row after row
    of the whole prompt: they tell which of the tower's tokens belongs where. ``is_picture`` marks
    the tokens of images and video frames, which the big models see as blocks.
    """

    ids: np.ndarray
    types: np.ndarray
    ranks: np.ndarray
    is_picture: np.ndarray

    @classmethod
    def of(cls, ids: np.ndarray, types: np.ndarray, shown: np.ndarray | None) -> "TokenLayout":
        """``shown`` are mm_token_type_ids given beside the ids; None: as ``types``."""
        shown = types if shown is None else shown
        is_picture = (shown == Modality.IMAGE) | (shown == Modality.VIDEO)
        return cls(ids, types, _ranks(types), is_picture)

    def part(self, start: int, stop: int) -> "TokenLayout":
        """Positions ``start`` to ``stop`` of every row."""
        columns = slice(start, stop)
        return TokenLayout(
            self.ids[:, columns],
            self.types[:, columns],
            self.ranks[:, columns],
            self.is_picture[:, columns],
        )


def read_layout(
    input_ids: mx.array, mm_token_type_ids: mx.array | None, config: Gemma4Config
) -> TokenLayout:
    """What stands where in input_ids (B, L); InputError unless they are of this vocabulary."""
    ids = np.array(input_ids)
    if ids.ndim != 2 or ids.size == 0 or ids.dtype.kind not in "iu":
        raise InputError(
            f"input_ids is {ids.dtype} of shape {ids.shape}, expected whole numbers of shape "
            "(batch, tokens)"
        )
    low, high = int(ids.min()), int(ids.max())
    if low < 0 or high >= config.text.vocab_size:
        raise InputError(
            f"input_ids hold {low if low < 0 else high}, but the vocabulary has ids 0 to "
            f"{config.text.vocab_size - 1}: use this model's own tokenizer"
        )
    types = np.zeros(ids.shape, dtype=np.int32)
    for placeholder, modality in config.placeholders.items():
        types[ids == placeholder] = modality

    if mm_token_type_ids is None:
        return TokenLayout.of(ids, types, None)
    shown = np.array(mm_token_type_ids)
    if shown.shape != ids.shape:
        raise InputError(
            f"mm_token_type_ids has shape {shown.shape}, expected that of input_ids {ids.shape}: "
            "pass both as the processor gave them"
        )
    odd = shown[~np.isin(shown, (0, *Modality))]
    if odd.size:
        known = ", ".join(f"{modality} ({modality.name.lower()})" for modality in Modality)
        raise InputError(
            f"mm_token_type_ids holds {odd[0]}, expected 0 (text), {known}: "
            "leave it out to have it derived from input_ids"
        )
    return TokenLayout.of(ids, types, shown)


def _ranks(types: np.ndarray) -> np.ndarray:
    ranks = np.zeros(types.size, dtype=np.int64)
    flat = types.ravel()
    for modality in Modality:
        places = flat == modality
        ranks[places] = np.arange(places.sum())
    return ranks.reshape(types.shape)


def splice(x: mx.array, layout: TokenLayout, soft_tokens: SoftTokens) -> mx.array:
    """Replace the embeddings x (B, L, hidden) at placeholders by the towers' tokens."""
    hidden = x.shape[-1]
    for modality, tokens in soft_tokens.by_modality.items():
        where = layout.types == modality
        if where.any():
            flat = x.reshape(-1, hidden)
            flat[mx.array(np.flatnonzero(where))] = tokens[mx.array(layout.ranks[where])].astype(
                x.dtype
            )
            x = flat.reshape(x.shape)
    return x


def tower_inputs(inputs: Mapping[str, Any]) -> dict[str, Any]:
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
