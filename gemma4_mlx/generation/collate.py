"""Several prompts side by side: rows padded at their start, media one after the other.

Padding stands at the left, so that the newest tokens of all rows share a column. Media need no
order of their own: the model hands out the towers' tokens row after row of the batch.
"""

from collections.abc import Mapping, Sequence

import mlx.core as mx

# Arrays with an entry a token.
_TOKENS = ("input_ids", "attention_mask", "mm_token_type_ids")
# Arrays with a row for each medium or frame, and what pads a row to the longest: patches that are
# none have the position −1.
_MEDIA = {
    "pixel_values": 0,
    "image_position_ids": -1,
    "pixel_values_videos": 0,
    "video_position_ids": -1,
    "input_features": 0,
    "input_features_mask": 0,
}


def collate(prompts: Sequence[Mapping[str, mx.array]], pad_token_id: int) -> dict[str, mx.array]:
    """Inputs of single prompts (1, L), as the processor gives them, as those of a batch (B, L)."""
    longest = max(prompt["input_ids"].shape[1] for prompt in prompts)
    batch = {}
    for name in _TOKENS:
        padding = pad_token_id if name == "input_ids" else 0
        batch[name] = mx.concatenate(
            [
                _padded(prompt[name], longest - prompt[name].shape[1], 0, padding)
                for prompt in prompts
            ]
        )
    for name, padding in _MEDIA.items():
        rows = [prompt[name] for prompt in prompts if name in prompt]
        if rows:
            most = max(array.shape[1] for array in rows)
            batch[name] = mx.concatenate(
                [_padded(array, 0, most - array.shape[1], padding) for array in rows]
            )
    counts = [p["num_frames_per_video"] for p in prompts if "num_frames_per_video" in p]
    if counts:
        batch["num_frames_per_video"] = mx.concatenate(counts)
    return batch


def _padded(array: mx.array, before: int, after: int, padding: int) -> mx.array:
    """(N, n, …) with more entries along its second axis."""
    widths = [(0, 0), (before, after), *[(0, 0)] * (array.ndim - 2)]
    return mx.pad(array, widths, constant_values=mx.array(padding, array.dtype))
