"""Our side of every comparison: run a model over the inputs that the reference was given.

What is measured is written once here; the tests judge the numbers and ``tests/parity.py``
prints them.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import mlx.core as mx
import numpy as np

from gemma4_mlx import load_model
from gemma4_mlx.generation.loop import generate_tokens
from gemma4_mlx.model import Gemma4Model
from tests.reference.inputs import AUDIO, IMAGE, VIDEO, Inputs, audio_tokens

MEDIA = {
    IMAGE: ("pixel_values", "image_position_ids"),
    VIDEO: ("pixel_values_videos", "video_position_ids"),
    AUDIO: ("input_features", "input_features_mask"),
}


def load_float32(path: Path) -> Gemma4Model:
    """The model of a checkpoint directory, computing in float32."""
    return load_model(str(path), dtype=mx.float32)


def to_mlx(inputs: Inputs, *, derive_types: bool = False) -> dict[str, mx.array]:
    """The arrays for ``model(**…)``; ``derive_types`` leaves mm_token_type_ids out."""
    return {
        name: mx.array(value.astype(np.int32) if value.dtype == np.int64 else value)
        for name, value in inputs.items()
        if not (derive_types and name == "mm_token_type_ids")
    }


def logits(model: Gemma4Model, inputs: Inputs, *, derive_types: bool = False) -> np.ndarray:
    """Logits (B, L, V) of one pass without a cache."""
    return np.array(model(**to_mlx(inputs, derive_types=derive_types)))


def greedy(model: Gemma4Model, inputs: Inputs, count: int = 64) -> list[list[int]]:
    """``count`` greedy tokens per row: one call for the prompt, then token by token."""
    cache = model.make_cache()
    token = mx.argmax(model(**to_mlx(inputs), cache=cache, logits_to_keep=1)[:, -1], axis=-1)
    steps = [token.tolist()]
    while len(steps) < count:
        token = mx.argmax(model(token[:, None], cache=cache)[:, -1], axis=-1)
        steps.append(token.tolist())
    return [list(row) for row in zip(*steps, strict=True)]


def greedy_through_loop(
    model: Gemma4Model, inputs: Inputs, count: int, prefill_step_size: int
) -> list[list[int]]:
    """``count`` greedy tokens per row by the generation loop, the prompt in small chunks."""
    steps = generate_tokens(
        model,
        to_mlx(inputs),
        model.make_cache(),
        lambda logits: mx.argmax(logits, axis=-1),
        max_tokens=count,
        prefill_step_size=prefill_step_size,
    )
    return [list(row) for row in zip(*list(steps), strict=True)]


def chunked_logits(model: Gemma4Model, inputs: Inputs, sizes: Iterable[int]) -> np.ndarray:
    """Logits (1, L, V) of a row given in calls of these sizes, the last one taking the rest."""
    cache = model.make_cache()
    parts = []
    for chunk in cut(inputs, borders(inputs, sizes)):
        parts.append(model(**to_mlx(chunk), cache=cache))
        mx.eval(parts[-1])
    return np.concatenate([np.array(part) for part in parts], axis=1)


def borders(inputs: Inputs, sizes: Iterable[int]) -> list[int]:
    """Where to cut: after these many tokens each, moved on to the end of a run of media."""
    types = inputs["mm_token_type_ids"][0]
    places, at = [], 0
    for size in sizes:
        at += size
        while 0 < at < len(types) and types[at] and types[at] == types[at - 1]:
            at += 1
        if at >= len(types):
            break
        places.append(at)
    return places


def cut(inputs: Inputs, places: Sequence[int]) -> list[Inputs]:
    """A single row as several calls; media arrays go with the call that has their tokens."""
    types = inputs["mm_token_type_ids"][0]
    counts = {kind: _tokens_of(inputs, kind) for kind in MEDIA}
    chunks: list[Inputs] = []
    start = 0
    for end in [*places, len(types)]:
        chunk = {
            "input_ids": inputs["input_ids"][:, start:end],
            "mm_token_type_ids": inputs["mm_token_type_ids"][:, start:end],
        }
        for kind, names in MEDIA.items():
            wanted, taken = int((types[start:end] == kind).sum()), 0
            while wanted > 0:
                wanted -= counts[kind][taken]
                taken += 1
            if taken:
                first = len(_tokens_of(inputs, kind)) - len(counts[kind])
                for name in names:
                    chunk[name] = inputs[name][first : first + taken]
                counts[kind] = counts[kind][taken:]
                if kind == VIDEO:
                    chunk["num_frames_per_video"] = np.array([taken])
        chunks.append(chunk)
        start = end
    return chunks


def _tokens_of(inputs: Inputs, kind: int) -> list[int]:
    """Soft tokens of each picture, frame or clip."""
    if MEDIA[kind][0] not in inputs:
        return []
    if kind == AUDIO:
        return [audio_tokens(int(row.sum())) for row in inputs["input_features_mask"]]
    positions = inputs[MEDIA[kind][1]]
    return [int((row[:, 0] >= 0).sum()) // 9 for row in positions]


def real_tokens(batch: np.ndarray, row: int, length: int) -> np.ndarray:
    """The last ``length`` positions of one row of a left-padded batch (B, L, V)."""
    return batch[row, -length:]


def difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """max |Δ| of two arrays of one shape; NaN anywhere counts as infinite."""
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    largest = float(np.abs(ours.astype(np.float64) - theirs.astype(np.float64)).max())
    return float("inf") if np.isnan(largest) else largest
