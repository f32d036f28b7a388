"""A video as the model sees it: 32 frames spread evenly over it, each with its time.

In the prompt a frame is ``MM:SS <|image>`` + its soft tokens + ``<image|>``, frames joined by
spaces. A frame is a picture of at most 70 tokens. Its sound is not part of it.

Source: transformers' ``sample_frames`` and ``Gemma4VideoProcessor``. Deviations: that one resizes
with torchvision, whose antialiased bicubic differs from Pillow's by rounding; here one resizing
(``patches``) serves pictures and frames. Videos with fewer than 32 frames are refused there and
used whole here, and a telephone's upright videos are turned upright.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from gemma4_mlx.errors import MediaError, MissingExtraError
from gemma4_mlx.processing.images import load_image
from gemma4_mlx.processing.sources import Source, find_source

ASSUMED_FPS = 24.0

VideoSource = str | os.PathLike[str] | bytes | np.ndarray | Sequence[Any]


@dataclass(frozen=True)
class Video:
    """Sampled frames, upright 8-bit RGB of one size, and their times in seconds."""

    frames: list[Image.Image]
    times: list[float]


def load_video(
    source: VideoSource, num_frames: int, notices: list[str], fps: float | None = None
) -> Video:
    """Sample ``num_frames`` frames of a file, or of a sequence of frames.

    A sequence is a list of pictures (anything ``load_image`` takes) or an array (T, H, W, 3);
    ``fps`` says how fast it runs, 24 when not given. ``notices`` gets a line on what was left
    out or assumed. Raises MediaError for what is missing, damaged or no video, MissingExtraError
    for a file without the ``media`` extra.
    """
    if isinstance(source, str | os.PathLike | bytes):
        return _from_file(find_source(source, "video"), num_frames, notices)
    if fps is not None and not (isinstance(fps, int | float) and 0 < fps < 1e6):
        raise MediaError(f"the fps of a video is {fps!r}, expected frames per second above zero")
    if not isinstance(source, Sequence | np.ndarray):
        raise MediaError(
            f"a video is a {type(source).__name__}; expected a path or a list of frames"
        )
    if isinstance(source, np.ndarray) and source.ndim != 4:
        raise MediaError(
            f"a video array has shape {source.shape}; expected (frames, H, W, 3), and a single "
            "picture as an image"
        )
    total = len(source)
    if total == 0:
        raise MediaError("the video has no frames; expected at least one")
    if fps is None:
        notices.append(f"the video: {ASSUMED_FPS:g} frames per second assumed")
    indices = sample_indices(total, num_frames)
    if len(indices) < total:
        notices.append(f"the video: {len(indices)} of its {total} frames are used")
    said: list[str] = []
    pictures: Any = source
    frames = [load_image(pictures[index], said) for index in indices]
    notices += dict.fromkeys(said)
    sizes = sorted({frame.size for frame in frames})
    if len(sizes) > 1:
        raise MediaError(f"the frames of a video have different sizes: {sizes[:3]}; expected one")
    return Video(frames, [index / (fps or ASSUMED_FPS) for index in indices])


def sample_indices(total: int, num_frames: int) -> list[int]:
    """Which of ``total`` frames are looked at: evenly spaced, the first one always.

    >>> sample_indices(10, 4)
    [0, 2, 5, 7]
    """
    count = min(total, num_frames)
    return [index * total // count for index in range(count)]


def timestamp(seconds: float) -> str:
    """The time of a frame as the prompt writes it.

    >>> timestamp(75.9)
    '01:15'
    """
    return f"{int(seconds // 60):02d}:{int(seconds % 60):02d}"


def _from_file(source: Source, num_frames: int, notices: list[str]) -> Video:
    try:
        import av
    except ImportError:
        raise MissingExtraError(
            f"{source.name}: video needs an extra: pip install 'gemma4-mlx[media]'"
        ) from None
    try:
        with av.open(str(source.path) if source.path else source.open()) as container:
            if not container.streams.video:
                raise MediaError(f"{source.name} has no pictures in it; expected a video")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            total = stream.frames or _count_frames(container, stream)
            rate = float(stream.average_rate or stream.guessed_rate or 0)
            wanted = sample_indices(total, num_frames) if total else []
            frames = _decode(container, stream, wanted)
            sound = bool(container.streams.audio)
    except (av.FFmpegError, ValueError, OSError) as error:
        if isinstance(error, MediaError):
            raise
        raise MediaError(f"{source.name} is not a video that can be read: {error}") from None
    if not frames:
        raise MediaError(f"{source.name} has no frames in it: zero pictures")
    if len(frames) < len(wanted):
        raise MediaError(
            f"{source.name} is damaged or cut short: its header promises {total} frames, only "
            f"{len(frames)} of the {len(wanted)} wanted could be read"
        )
    if len(frames) < total:
        notices.append(f"{source.name}: {len(frames)} of its {total} frames are used")
    if not rate:
        notices.append(f"{source.name}: {ASSUMED_FPS:g} frames per second assumed")
    if sound:
        notices.append(f"{source.name}: its sound is not heard; add the file as audio for that")
    return Video(frames, [index / (rate or ASSUMED_FPS) for index in wanted])


def _count_frames(container: Any, stream: Any) -> int:
    """Frames of a container whose header does not say (mkv, webm): one packet each."""
    count = sum(1 for packet in container.demux(stream) if packet.size)
    container.seek(0)
    return count


def _decode(container: Any, stream: Any, wanted: list[int]) -> list[Image.Image]:
    """The wanted frames, in order, turned as the file's display matrix says."""
    frames: list[Image.Image] = []
    missing = set(wanted)
    for index, frame in enumerate(container.decode(stream)):
        if index in missing:
            missing.discard(index)
            image = Image.fromarray(frame.to_ndarray(format="rgb24"))
            turn = int(getattr(frame, "rotation", 0)) % 360
            frames.append(image.rotate(turn, expand=True) if turn else image)
        if not missing:
            break
    return frames
