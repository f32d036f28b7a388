"""Sound out of the containers libsndfile does not read: m4a, mp4, mov, mkv, webm, wma, amr.

PyAV (the ``media`` extra) brings FFmpeg's decoders; a Mac without it has ``afconvert``. A video
file gives its first sound track.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from gemma4_mlx.errors import MediaError, MissingExtraError
from gemma4_mlx.processing.sound_files import file_track
from gemma4_mlx.processing.sound_tracks import Remarks, Track, no_sound
from gemma4_mlx.processing.sources import Source

CONTAINER_SUFFIXES = {
    *(".m4a", ".m4b", ".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3g2", ".aac", ".ac3", ".wma"),
    *(".wmv", ".asf", ".amr", ".mkv", ".mka", ".webm", ".avi", ".ts", ".mts", ".mpg", ".mpeg"),
}

# FFmpeg's names of formats that are a row of frames and nothing else.
_WITHOUT_HEADER = {"aac", "ac3", "eac3", "amr", "amrnb", "amrwb", "mp3", "mpegts"}


def container_track(source: Source, remarks: Remarks, opened: ExitStack) -> Track:
    """The first sound track of a container; ``opened`` closes what stays open for it.

    Raises MediaError when there is none or the file is damaged from the beginning,
    MissingExtraError when neither PyAV nor afconvert is at hand.
    """
    av = _import_av()
    if av is None:
        return _converted(source, remarks, opened)
    container = opened.enter_context(_open(av, source))
    stream = _sound_track(container, source)
    frames = container.decode(stream)
    try:
        frame = next(frames, None)  # headers may be wrong about the rate
    except av.FFmpegError as error:
        raise MediaError(f"{source.name} is damaged or cut short: {error}") from None
    if frame is None:
        raise no_sound(source.name)
    rate = frame.sample_rate
    resampler = av.AudioResampler(format="fltp")  # keeps layout and rate

    def decode(_: int) -> Iterator[tuple[int, np.ndarray]]:
        begin = 0
        for following in chain([frame], frames, [None]):
            for block in resampler.resample(following):
                samples = block.to_ndarray().T.astype(np.float32)
                yield begin, samples
                begin += len(samples)

    promised = _promised_seconds(container, stream)
    return Track(
        source.name,
        rate,
        frame.layout.nb_channels,
        round(promised * rate) if promised else None,
        decode,
        slack=rate / 2,  # room for an encoder's delay and for the last packet
    )


def _promised_seconds(container: Any, stream: Any) -> float:
    """Length of the track by its header; 0 where FFmpeg would guess it from the bit rate."""
    if container.format.name in _WITHOUT_HEADER or not stream.duration or not stream.time_base:
        return 0.0
    return float(stream.duration * stream.time_base)


def _import_av() -> Any:
    try:
        import av
    except ImportError:
        return None
    return av


def _open(av: Any, source: Source) -> Any:
    try:
        return av.open(str(source.path) if source.path else source.open())
    except (av.FFmpegError, ValueError, OSError) as error:
        raise _foreign(source, error) from None


def _sound_track(container: Any, source: Source) -> Any:
    if not container.streams.audio:
        raise MediaError(f"{source.name} has no sound track")
    return container.streams.audio[0]


def _foreign(source: Source, error: object) -> MediaError:
    return MediaError(
        f"{source.name} is not a recording that can be read ({error}); expected wav, flac, ogg, "
        "mp3, m4a or mp4"
    )


def _converted(source: Source, remarks: Remarks, opened: ExitStack) -> Track:
    """Let macOS write a WAV and read that."""
    if not _is_container(source):
        raise _foreign(source, "unknown format")
    tool = shutil.which("afconvert") if sys.platform == "darwin" else None
    if tool is None:
        raise MissingExtraError(
            f"{source.name} needs a decoder that is not installed: "
            "pip install 'gemma4-mlx[media]', or on a Mac its own afconvert"
        )
    folder = Path(opened.enter_context(tempfile.TemporaryDirectory()))
    given, wav = source.path, folder / "out.wav"
    if given is None:
        given = folder / "in"
        given.write_bytes(source.content or b"")
    command = [tool, "-f", "WAVE", "-d", "LEF32", str(given.absolute()), str(wav)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    track = None
    if done.returncode == 0 and wav.exists():
        track = file_track(Source(source.name, path=wav), remarks, opened)
    if track is None:
        raise _foreign(source, " ".join((done.stderr or done.stdout).split()) or "afconvert failed")
    return track


def _is_container(source: Source) -> bool:
    head = source.head(16)
    magic = head[4:8] == b"ftyp" or head.startswith(
        (b"\x1aE\xdf\xa3", b"#!AMR", b"\x30\x26\xb2\x75")
    )
    adts = head[:1] == b"\xff" and len(head) > 1 and head[1] & 0xF6 == 0xF0
    return magic or adts or source.suffix in CONTAINER_SUFFIXES
