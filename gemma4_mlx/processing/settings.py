"""What ``processor_config.json`` says about pictures, videos and recordings.

All released models carry the same file, and its values are the defaults here: early MLX
conversions dropped whole blocks of it (without ``feature_extractor`` some readers ignore audio in
silence), and text-only ones drop the file. A block that is absent means the released values.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Integral
from pathlib import Path
from typing import Any

from gemma4_mlx.config import Gemma4Config
from gemma4_mlx.errors import InputError
from gemma4_mlx.json_files import read_json
from gemma4_mlx.processing.checked_values import LARGEST, Values

SOFT_TOKEN_BUDGETS = (70, 140, 280, 560, 1120)


@dataclass(frozen=True)
class ImageSettings:
    """How a picture becomes patches; a video's frames use the same with a smaller budget."""

    max_soft_tokens: int = 280
    patch_size: int = 16
    pooling_kernel_size: int = 3
    resample: int = 3  # Pillow's number for bicubic
    rescale_factor: float = 1 / 255
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        check_budget(self.max_soft_tokens)

    @classmethod
    def from_values(cls, values: Values, budget: int) -> "ImageSettings":
        """Read a picture's block; ``budget`` is the released one. Raises CheckpointError."""
        for switch in ("do_convert_rgb", "do_resize", "do_rescale"):
            values.only(switch, True)
        mean = values.numbers("image_mean", 3)
        std = values.numbers("image_std", 3, zero=False)
        if not values.switch("do_normalize", False):
            mean = std = None
        return cls(
            max_soft_tokens=values.choice("max_soft_tokens", SOFT_TOKEN_BUDGETS, budget),
            patch_size=values.count("patch_size", cls.patch_size),
            pooling_kernel_size=values.count("pooling_kernel_size", cls.pooling_kernel_size),
            resample=values.choice("resample", range(6), cls.resample),  # Pillow's filters
            rescale_factor=values.number("rescale_factor", cls.rescale_factor),
            mean=mean or cls.mean,
            std=std or cls.std,
        )


@dataclass(frozen=True)
class VideoSettings:
    """How a video becomes frames: ``num_frames`` spread evenly over it."""

    frames: ImageSettings = field(default_factory=lambda: ImageSettings(max_soft_tokens=70))
    num_frames: int = 32


@dataclass(frozen=True)
class MelSettings:
    """How a waveform becomes log-mel frames; lengths in samples, frequencies in Hz."""

    feature_size: int = 128
    sampling_rate: int = 16_000
    frame_length: int = 320
    hop_length: int = 160
    fft_length: int = 512
    min_frequency: float = 0.0
    max_frequency: float = 8000.0
    mel_floor: float = 1e-3
    input_scale_factor: float = 1.0
    per_bin_mean: tuple[float, ...] | None = None
    per_bin_stddev: tuple[float, ...] | None = None

    @classmethod
    def from_values(cls, values: Values) -> "MelSettings":
        """Read the block of recordings. Raises CheckpointError."""
        values.only("dither", 0.0)
        values.only("preemphasis", 0.0)
        values.only("padding_side", "right")
        values.only("sampling_rate", cls.sampling_rate)
        rate = cls.sampling_rate  # with another, frames of so many samples last longer
        mels = values.count("feature_size", cls.feature_size)
        frame_length = _samples(values, "frame_length", rate, cls.frame_length)
        smallest = 2 ** math.ceil(math.log2(frame_length))
        overdrive = values.switch("fft_overdrive", False)
        fft_length = values.count("fft_length", smallest * (2 if overdrive else 1))
        if fft_length < frame_length:
            values.refuse("fft_length", f"at least the frame_length {frame_length}")
        low = values.number("min_frequency", cls.min_frequency, zero=True)
        high = values.number("max_frequency", cls.max_frequency)
        if high <= low:
            values.refuse("max_frequency", f"more than the min_frequency {low:g}")
        return cls(
            feature_size=mels,
            sampling_rate=rate,
            frame_length=frame_length,
            hop_length=_samples(values, "hop_length", rate, cls.hop_length),
            fft_length=fft_length,
            min_frequency=low,
            max_frequency=high,
            mel_floor=values.number("mel_floor", cls.mel_floor, zero=True),
            input_scale_factor=values.number("input_scale_factor", cls.input_scale_factor),
            per_bin_mean=values.numbers("per_bin_mean", mels),
            per_bin_stddev=values.numbers("per_bin_stddev", mels, zero=False),
        )


@dataclass(frozen=True)
class ProcessorSettings:
    """The whole file. ``audio_seq_length`` tokens of ``audio_ms_per_token`` limit a recording."""

    image: ImageSettings = field(default_factory=ImageSettings)
    video: VideoSettings = field(default_factory=VideoSettings)
    mel: MelSettings = field(default_factory=MelSettings)
    audio_seq_length: int = 750
    audio_ms_per_token: int = 40

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> "ProcessorSettings":
        """Read the parsed file; absent blocks and keys take the released values.

        Raises CheckpointError, naming the key, for a value of the wrong type or out of range.
        """
        values = Values(raw)
        video = values.block("video_processor")
        return cls(
            image=ImageSettings.from_values(values.block("image_processor"), budget=280),
            video=VideoSettings(
                ImageSettings.from_values(video, budget=70),
                video.count("num_frames", VideoSettings.num_frames),
            ),
            mel=MelSettings.from_values(values.block("feature_extractor")),
            audio_seq_length=values.count("audio_seq_length", cls.audio_seq_length),
            audio_ms_per_token=values.count("audio_ms_per_token", cls.audio_ms_per_token),
        )

    @classmethod
    def from_dir(cls, path: Path) -> "ProcessorSettings":
        """Read ``path/processor_config.json``, or take the released values when there is none.

        Raises CheckpointError for a damaged file and for settings no Gemma 4 model has.
        """
        file = Path(path) / "processor_config.json"
        return cls.from_dict(read_json(file) if file.exists() else {})

    @property
    def max_samples(self) -> int:
        """The longest recording one prompt part may hold, in samples (30 s)."""
        return self.audio_seq_length * self.audio_ms_per_token * self.mel.sampling_rate // 1000


def lacking_blocks(raw: Mapping[str, Any], config: Gemma4Config) -> list[str]:
    """What a parsed file does not say, though a tower of the model needs it.

    The released values are taken for it here; other readers take their own, or nothing.
    """
    towers = {
        "image_processor": config.vision,
        "video_processor": config.vision,
        "feature_extractor": config.audio,
    }
    return [name for name, tower in towers.items() if tower is not None and not raw.get(name)]


def check_budget(max_soft_tokens: int) -> None:
    """InputError unless this is one of the five token budgets that Gemma 4 knows."""
    whole = isinstance(max_soft_tokens, Integral)
    if not whole or max_soft_tokens not in SOFT_TOKEN_BUDGETS:
        raise InputError(
            f"max_soft_tokens is {max_soft_tokens!r}; "
            f"a picture may have one of the budgets {', '.join(map(str, SOFT_TOKEN_BUDGETS))}"
        )


def _samples(values: Values, name: str, rate: int, default: int) -> int:
    """A length in samples, given as it is or in milliseconds under ``<name>_ms``."""
    in_time = f"{name}_ms"
    milliseconds = values.number(in_time, 1000 * default / rate)
    if values.has(name) or not values.has(in_time):
        return values.count(name, default)
    length = rate * milliseconds / 1000
    if not 0.5 < length <= LARGEST:
        values.refuse(in_time, f"1 to {LARGEST} samples at {rate} Hz")
    return round(length)
