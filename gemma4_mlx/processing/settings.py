"""What ``processor_config.json`` says about pictures, videos and recordings.

All released models carry the same file, and its values are the defaults here: early MLX
conversions dropped whole blocks of it (without ``feature_extractor`` some readers ignore audio in
silence), and text-only ones drop the file. A block that is absent means the released values.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gemma4_mlx.errors import CheckpointError, InputError
from gemma4_mlx.json_files import read_json

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
    def from_dict(cls, raw: Mapping[str, Any], budget: int) -> "ImageSettings":
        for switch in ("do_convert_rgb", "do_resize", "do_rescale"):
            if raw.get(switch, True) is False:
                raise CheckpointError(
                    f"processor_config.json: {switch} is false, but Gemma 4 needs it: "
                    "use the processor_config.json that came with the weights"
                )
        chosen = _chosen(raw, cls, skip=("mean", "std"))
        chosen.setdefault("max_soft_tokens", budget)
        if raw.get("do_normalize"):
            chosen["mean"] = _three(raw.get("image_mean"), 0.0)
            chosen["std"] = _three(raw.get("image_std"), 1.0)
        try:
            return cls(**chosen)
        except InputError as error:
            raise CheckpointError(f"processor_config.json: {error}") from None


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
    def from_dict(cls, raw: Mapping[str, Any]) -> "MelSettings":
        for key, only in (("dither", 0.0), ("preemphasis", 0.0), ("padding_side", "right")):
            if raw.get(key, only) != only:
                raise CheckpointError(
                    f"processor_config.json: feature_extractor.{key} is {raw[key]!r}, but every "
                    f"Gemma 4 model has {only!r}: use the file that came with the weights"
                )
        chosen = _chosen(raw, cls)
        rate = chosen.get("sampling_rate", cls.sampling_rate)
        for name in ("frame_length", "hop_length"):
            if f"{name}_ms" in raw:
                chosen.setdefault(name, round(rate * raw[f"{name}_ms"] / 1000))
        smallest = 2 ** math.ceil(math.log2(chosen.get("frame_length", cls.frame_length)))
        chosen.setdefault("fft_length", smallest * (2 if raw.get("fft_overdrive") else 1))
        for name in ("per_bin_mean", "per_bin_stddev"):
            if name in chosen:
                chosen[name] = tuple(chosen[name])
        return cls(**chosen)


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
        """Read the parsed file; absent blocks and keys take the released values."""
        image = ImageSettings.from_dict(_block(raw, "image_processor"), budget=280)
        video = _block(raw, "video_processor")
        num_frames = video.get("num_frames") or VideoSettings.num_frames
        return cls(
            image=image,
            video=VideoSettings(ImageSettings.from_dict(video, budget=70), num_frames),
            mel=MelSettings.from_dict(_block(raw, "feature_extractor")),
            audio_seq_length=raw.get("audio_seq_length") or cls.audio_seq_length,
            audio_ms_per_token=raw.get("audio_ms_per_token") or cls.audio_ms_per_token,
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


def check_budget(max_soft_tokens: int) -> None:
    """InputError unless this is one of the five token budgets that Gemma 4 knows."""
    if max_soft_tokens not in SOFT_TOKEN_BUDGETS:
        raise InputError(
            f"max_soft_tokens is {max_soft_tokens!r}; "
            f"a picture may have one of the budgets {', '.join(map(str, SOFT_TOKEN_BUDGETS))}"
        )


def _block(raw: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    block = raw.get(name) or {}
    if not isinstance(block, Mapping):
        raise CheckpointError(f"processor_config.json: {name} is {block!r}, expected an object")
    return block


def _chosen(raw: Mapping[str, Any], cls: type, skip: Sequence[str] = ()) -> dict[str, Any]:
    names = [name for name in cls.__dataclass_fields__ if name not in skip]  # type: ignore[attr-defined]
    return {name: raw[name] for name in names if raw.get(name) is not None}


def _three(values: Any, default: float) -> tuple[float, ...]:
    return tuple(map(float, values)) if values is not None else (default,) * 3
