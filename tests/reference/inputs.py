"""Model inputs under transformers' names, made from a seed: prompts with pictures, clips, frames.

No processor is involved: pixel values and mel features are random numbers in the shapes and with
the positions and masks that the real processors give. Everything comes from
``numpy.random.RandomState``, whose streams NumPy guarantees never to change, so that goldens hold
a seed instead of the arrays.
"""

import math
from typing import Any

import numpy as np

from tests.reference import families

Inputs = dict[str, np.ndarray]

IMAGE, VIDEO, AUDIO = 1, 2, 3  # the values of mm_token_type_ids


class PromptBuilder:
    """Puts one row together: text and media in order, and the arrays that belong to them."""

    def __init__(self, config: dict[str, Any], seed: int):
        self.config = config
        self.random = np.random.RandomState(seed)
        self.ids: list[int] = [families.BOS]
        self.types: list[int] = [0]
        self.images: list[tuple[int, int]] = []
        self.videos: list[list[tuple[int, int]]] = []
        self.clips: list[int] = []
        self.patch_dims = 3 * (config.get("vision_config") or {}).get("patch_size", 16) ** 2
        audio = config.get("audio_config")
        self.mels = audio["subsampling_conv_channels"][0] if audio else 0

    def text(self, count: int) -> "PromptBuilder":
        """``count`` random ordinary tokens."""
        low, high = families.FIRST_TEXT_ID, families.LAST_TEXT_ID + 1
        return self._add(self.random.randint(low, high, size=count).tolist(), 0)

    def image(self, columns: int, rows: int, *, bare: bool = False) -> "PromptBuilder":
        """A picture of ``columns · rows`` soft tokens; ``bare`` leaves its frame tokens out."""
        self.images.append((columns, rows))
        return self._soft("image_token_id", columns * rows, IMAGE, "i", bare)

    def video(self, frames: int, columns: int, rows: int) -> "PromptBuilder":
        """A video: a few tokens of time stamp before the soft tokens of each frame."""
        self.videos.append([(columns, rows)] * frames)
        for _ in range(frames):
            self.text(2)._soft("video_token_id", columns * rows, VIDEO, "i", False)
        return self

    def audio(self, frames: int) -> "PromptBuilder":
        """A recording of ``frames`` mel frames (10 ms each)."""
        self.clips.append(frames)
        return self._soft("audio_token_id", audio_tokens(frames), AUDIO, "a", False)

    def build(self) -> Inputs:
        """The row as a batch of one, with every array it needs."""
        inputs: Inputs = {
            "input_ids": np.array([self.ids], dtype=np.int64),
            "attention_mask": np.ones((1, len(self.ids)), dtype=np.int64),
            "mm_token_type_ids": np.array([self.types], dtype=np.int64),
        }
        if self.images:
            pixels, positions = self._patches(self.images)
            inputs.update(pixel_values=pixels, image_position_ids=positions)
        if self.videos:
            pixels, positions = self._patches([size for video in self.videos for size in video])
            counts = np.array([len(video) for video in self.videos], dtype=np.int64)
            inputs.update(pixel_values_videos=pixels, video_position_ids=positions)
            inputs.update(num_frames_per_video=counts)
        if self.clips:
            features, mask = self._mel_features()
            inputs.update(input_features=features, input_features_mask=mask)
        return inputs

    def _add(self, ids: list[int], kind: int) -> "PromptBuilder":
        self.ids += ids
        self.types += [kind] * len(ids)
        return self

    def _soft(self, name: str, count: int, kind: int, letter: str, bare: bool) -> "PromptBuilder":
        ids = [self.config[name]] * count
        if bare:
            return self._add(ids, kind)
        self._add([self.config[f"bo{letter}_token_id"]], 0)._add(ids, kind)
        return self._add([self.config[f"eo{letter}_token_id"]], 0)

    def _patches(self, sizes: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
        """Pixels (N, P, 768) in [0, 1] in raster order, positions (N, P, 2), −1 for padding."""
        most = max(columns * rows for columns, rows in sizes)
        most = 9 * (most + 2)  # some padding even for the largest
        pixels = np.zeros((len(sizes), most, self.patch_dims), dtype=np.float32)
        positions = np.full((len(sizes), most, 2), -1, dtype=np.int64)
        for index, (columns, rows) in enumerate(sizes):
            x, y = np.meshgrid(np.arange(3 * columns), np.arange(3 * rows), indexing="xy")
            count = x.size
            pixels[index, :count] = self.random.random_sample((count, self.patch_dims))
            positions[index, :count] = np.stack([x, y], axis=-1).reshape(count, 2)
        return pixels, positions

    def _mel_features(self) -> tuple[np.ndarray, np.ndarray]:
        """Log-mel-like features (N, T, mels) and their mask (N, T), padded to the longest."""
        longest = max(self.clips)
        features = np.zeros((len(self.clips), longest, self.mels), dtype=np.float32)
        mask = np.zeros((len(self.clips), longest), dtype=bool)
        for index, frames in enumerate(self.clips):
            noise = self.random.random_sample((frames, self.mels))
            features[index, :frames] = 8.0 * noise - 6.0
            mask[index, :frames] = True
        return features, mask


def audio_tokens(frames: int) -> int:
    """Soft tokens of a clip: two convolutions of stride 2 halve the mel frames, rounding up."""
    return math.ceil(math.ceil(frames / 2) / 2)


def case_names(family: str) -> tuple[str, ...]:
    """The comparisons that make sense for a family."""
    names = ["text", "image", "images", "long image", "adjacent images", "video"]
    if family not in families.BIG:
        names.append("audio")
    return (*names, "mixed")


def make_case(config: dict[str, Any], name: str, seed: int, scale: int = 1) -> Inputs:
    """One of ``case_names`` for a model of this config; ``scale`` lengthens the text in it."""
    row = PromptBuilder(config, seed)
    has_audio = bool(config.get("audio_config"))
    if name == "text":
        row.text(44 * scale)
    elif name == "image":
        row.text(9 * scale).image(3, 2).text(12 * scale)
    elif name == "images":
        row.text(5 * scale).image(4, 1).text(3).image(1, 7).text(2).image(2, 3).text(9 * scale)
    elif name == "long image":  # longer than every window of the tiny models
        row.text(7 * scale).image(6, 5).text(8 * scale)
    elif name == "adjacent images":  # no token between them: one block in the reference
        row.text(4 * scale).image(3, 1, bare=True).image(2, 3, bare=True).text(9 * scale)
    elif name == "video":
        row.text(6 * scale).video(3, 2, 2).text(4).video(2, 3, 1).text(5 * scale)
    elif name == "audio":
        row.text(3 * scale).audio(97).text(2).audio(30).audio(58).text(7 * scale)
    elif name == "mixed":
        row.text(5 * scale).video(2, 2, 1).image(5, 2).text(3)
        row = row.audio(70) if has_audio else row
        row.text(4).image(1, 4)
        row = row.audio(33) if has_audio else row
        row.text(6 * scale)
    else:
        raise KeyError(f"no case is named {name!r}")
    return row.build()


def left_pad(rows: list[Inputs]) -> Inputs:
    """Several rows as one batch: shorter ones padded on the left, media arrays joined."""
    longest = max(row["input_ids"].shape[1] for row in rows)
    batch: Inputs = {}
    for key in ("input_ids", "attention_mask", "mm_token_type_ids"):
        fill = families.PAD if key == "input_ids" else 0
        batch[key] = np.concatenate(
            [_padded(row[key], longest, axis=1, fill=fill, left=True) for row in rows]
        )
    media = {key for row in rows for key in row} - set(batch)
    for key in sorted(media):
        parts = [row[key] for row in rows if key in row]
        if key != "num_frames_per_video":
            fill = -1 if key.endswith("position_ids") else 0
            most = max(part.shape[1] for part in parts)
            parts = [_padded(part, most, axis=1, fill=fill, left=False) for part in parts]
        batch[key] = np.concatenate(parts)
    return batch


def _padded(array: np.ndarray, length: int, axis: int, fill: int, left: bool) -> np.ndarray:
    missing = length - array.shape[axis]
    widths = [(0, 0)] * array.ndim
    widths[axis] = (missing, 0) if left else (0, missing)
    return np.pad(array, widths, constant_values=fill)
