"""Sound out of the containers libsndfile does not read: m4a, mp4, mov, mkv, webm, wma, amr.

PyAV (the ``media`` extra) brings FFmpeg's decoders; a Mac without it has ``afconvert``. A video
file gives its first sound track.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from gemma4_mlx.errors import MediaError, MissingExtraError
from gemma4_mlx.processing.sources import Source

_SUFFIXES = {
    *(".m4a", ".m4b", ".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3g2", ".aac", ".ac3", ".wma"),
    *(".wmv", ".asf", ".amr", ".mkv", ".mka", ".webm", ".avi", ".ts", ".mts", ".mpg", ".mpeg"),
}

# FFmpeg's names of formats that are a row of frames and nothing else.
_WITHOUT_HEADER = {"aac", "ac3", "eac3", "amr", "amrnb", "amrwb", "mp3", "mpegts"}


def decode_container(source: Source) -> tuple[np.ndarray, float]:
    """The first sound track as samples (n, channels) float32, and its rate in Hz.

    Raises MediaError when there is none or the file is damaged, MissingExtraError when neither
    PyAV nor afconvert is at hand.
    """
    av = _import_av()
    if av is None:
        return _afconvert(source)
    with _open(av, source) as container:
        stream = _sound_track(container, source)
        promised = _promised_seconds(container, stream)
        resampler = av.AudioResampler(format="fltp")  # keeps layout and rate
        blocks, rate = [], 0
        try:
            for frame in container.decode(stream):
                rate = frame.sample_rate
                blocks += [block.to_ndarray() for block in resampler.resample(frame)]
            if rate:
                blocks += [block.to_ndarray() for block in resampler.resample(None)]
        except av.FFmpegError as error:
            raise MediaError(f"{source.name} is damaged or cut short: {error}") from None
    if not blocks:
        raise MediaError(f"{source.name} has no sound in it: zero samples")
    samples = np.concatenate(blocks, axis=1).T.astype(np.float32)
    # Half a second leaves room for an encoder's delay and for the last packet.
    if len(samples) / rate < promised - 0.5:
        raise MediaError(
            f"{source.name} is cut short: its header promises {promised:.1f} s of sound, "
            f"{len(samples) / rate:.1f} s found"
        )
    return samples, rate


def container_seconds(source: Source) -> float:
    """Length of the sound track in seconds, from the container's header where it tells."""
    av = _import_av()
    if av is not None:
        with _open(av, source) as container:
            promised = _promised_seconds(container, _sound_track(container, source))
        if promised:
            return promised
    samples, rate = decode_container(source)
    return len(samples) / rate


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


def _afconvert(source: Source) -> tuple[np.ndarray, float]:
    """Let macOS write a WAV and read that."""
    import soundfile

    if not _is_container(source):
        raise _foreign(source, "unknown format")
    tool = shutil.which("afconvert") if sys.platform == "darwin" else None
    if tool is None:
        raise MissingExtraError(
            f"{source.name} needs a decoder that is not installed: "
            "pip install 'gemma4-mlx[media]', or on a Mac its own afconvert"
        )
    with tempfile.TemporaryDirectory() as folder:
        given, wav = source.path, Path(folder) / "out.wav"
        if given is None:
            given = Path(folder) / "in"
            given.write_bytes(source.content or b"")
        command = [tool, "-f", "WAVE", "-d", "LEF32", str(given.absolute()), str(wav)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode or not wav.exists():
            reason = " ".join((done.stderr or done.stdout).split()) or "afconvert failed"
            raise _foreign(source, reason)
        samples, rate = soundfile.read(wav, dtype="float32", always_2d=True)
    return samples, float(rate)


def _is_container(source: Source) -> bool:
    head = source.head(16)
    magic = head[4:8] == b"ftyp" or head.startswith(
        (b"\x1aE\xdf\xa3", b"#!AMR", b"\x30\x26\xb2\x75")
    )
    adts = head[:1] == b"\xff" and len(head) > 1 and head[1] & 0xF6 == 0xF0
    return magic or adts or source.suffix in _SUFFIXES
