"""A processed prompt, and how to take the part of it that a cache does not hold yet.

A prompt is its ids and its media. Two pictures of one size have the same placeholder ids, so a
prefix is only the same prefix when the media in it are the same too: each is known by a digest of
what its tower would read.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import mlx.core as mx
import numpy as np

from gemma4_mlx.config import Gemma4Config, Modality

if TYPE_CHECKING:
    from gemma4_mlx.processing.tokenizer import Tokenizer

# The arrays of the processor that have one row for each image, video frame or recording.
_ROWS = {
    Modality.IMAGE: ("pixel_values", "image_position_ids"),
    Modality.VIDEO: ("pixel_values_videos", "video_position_ids"),
    Modality.AUDIO: ("input_features", "input_features_mask"),
}


@dataclass(frozen=True)
class MediaSpan:
    """One image, video frame or recording: its row among its modality, where its tokens end."""

    modality: Modality
    row: int
    end: int
    digest: bytes


class ProcessedPrompt:
    """The processor's arrays for one conversation (batch of one), ready to be cut.

    ``settled`` is how much of the prompt any later prompt of the conversation will begin with:
    all of it but the cue for the reply, and less than all of it. The cue may open or close a
    thought, and thoughts are taken out of the history later.
    """

    def __init__(
        self, inputs: Mapping[str, mx.array], config: Gemma4Config, tokenizer: "Tokenizer"
    ):
        self.inputs = inputs
        self.ids: list[int] = np.array(inputs["input_ids"][0]).tolist()
        self.media = _media(self.ids, inputs, config)
        self.settled = min(_settled(self.ids, self.media, tokenizer), len(self.ids) - 1)

    def __len__(self) -> int:
        return len(self.ids)

    def digests(self, length: int) -> tuple[bytes, ...]:
        """The media within the first ``length`` ids."""
        return tuple(medium.digest for medium in self.media if medium.end <= length)

    def begins_with(self, ids: Sequence[int], digests: tuple[bytes, ...]) -> bool:
        """Whether these ids and media are a proper prefix of the prompt."""
        length = len(ids)
        return (
            length < len(self.ids) and self.ids[:length] == ids and self.digests(length) == digests
        )

    def part(self, start: int, stop: int | None = None) -> dict[str, mx.array]:
        """Model inputs for the ids from ``start`` to ``stop``, with their media alone.

        Neither edge may lie within the tokens of an image, frame or recording.
        """
        stop = len(self.ids) if stop is None else stop
        part = {"input_ids": self.inputs["input_ids"][:, start:stop]}
        if "mm_token_type_ids" in self.inputs:
            part["mm_token_type_ids"] = self.inputs["mm_token_type_ids"][:, start:stop]
        for modality, names in _ROWS.items():
            rows = [m.row for m in self.media if m.modality == modality and start < m.end <= stop]
            if rows:
                for name in names:
                    part[name] = self.inputs[name][rows[0] : rows[-1] + 1]
                if modality == Modality.VIDEO:
                    part["num_frames_per_video"] = self._frames_per_video(rows)
        return part

    def _frames_per_video(self, rows: list[int]) -> mx.array:
        counts = np.array(self.inputs["num_frames_per_video"])
        video_of_row = np.repeat(np.arange(counts.size), counts)
        taken = np.bincount(video_of_row[rows], minlength=counts.size)
        return mx.array(taken[taken > 0].astype(np.int32))


def _media(
    ids: list[int], inputs: Mapping[str, mx.array], config: Gemma4Config
) -> tuple[MediaSpan, ...]:
    """One MediaSpan per run of equal placeholder ids; marks stand between two neighbours."""
    placeholders = config.placeholders
    found: list[MediaSpan] = []
    rows = dict.fromkeys(_ROWS, 0)
    end = 0
    for token_id, run in groupby(ids):
        end += sum(1 for _ in run)
        modality = placeholders.get(token_id)
        if modality is not None:
            row, rows[modality] = rows[modality], rows[modality] + 1
            found.append(MediaSpan(modality, row, end, _digest(inputs, modality, row)))
    return tuple(found)


def _digest(inputs: Mapping[str, mx.array], modality: Modality, row: int) -> bytes:
    """Of what is real in a row: its padding depends on the other media of the prompt."""
    content, where = (np.array(inputs[name][row]) for name in _ROWS[modality])
    real = where if modality == Modality.AUDIO else (where >= 0).all(axis=-1)
    state = hashlib.blake2b(modality.name.encode(), digest_size=16)
    state.update(np.ascontiguousarray(content[real]).data)
    state.update(np.ascontiguousarray(where[real]).data)
    return state.digest()


def _settled(ids: list[int], media: tuple[MediaSpan, ...], tokenizer: "Tokenizer") -> int:
    turn = tokenizer.backend.token_to_id("<|turn>")
    result = tokenizer.backend.token_to_id("<tool_response|>")
    last_medium = media[-1].end if media else 0
    for index in range(len(ids) - 1, last_medium - 1, -1):
        if ids[index] == turn:
            return index
        if ids[index] == result:
            return index + 1
    return last_medium
