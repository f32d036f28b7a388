"""Recordings as the model hears them: one channel, 16 kHz, float32 in [−1, 1].

libsndfile reads wav, flac, ogg, opus, mp3, aiff, caf and more, in any rate, number of channels
and bit depth; everything else (m4a, mp4, mov, webm) goes to ``audio_containers``. Channels are
averaged and soxr resamples in high quality, which is what transformers' ``load_audio`` does, with
equal samples. Deviations: a recording that exceeds full scale is turned down to it; every change
is told in ``notices``; and what is damaged or cut short is refused.
"""

import io
import math
import os
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import numpy as np

from gemma4_mlx.errors import InputError, MediaError
from gemma4_mlx.processing.mp3_frames import count_frames, with_info_frame
from gemma4_mlx.processing.sources import Source, as_array, find_source
from gemma4_mlx.processing.whole_recordings import refuse_cut_short

# The delay of MP3 encoders and decoders and the padding of the last frame, counted or not.
_MP3_SLACK = 4 * 1152

# Below, a second would become hundreds of times its samples, in gigabytes.
_LOWEST_RATE, _HIGHEST_RATE = 100, 10_000_000

AudioSource = str | os.PathLike[str] | bytes | np.ndarray | tuple[np.ndarray, float]


@dataclass(frozen=True)
class Waveform:
    """Samples (n,) float32 in [−1, 1] at ``rate`` Hz; ``notices`` say how they were made."""

    samples: np.ndarray
    rate: int
    notices: list[str] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.rate


def load_waveform(
    source: AudioSource, rate: int = 16_000, *, start: float = 0.0, end: float | None = None
) -> Waveform:
    """Read a recording, or the part of it from ``start`` to ``end`` seconds.

    ``source`` is a path, file: or data: address, the bytes of a file, an array at ``rate`` Hz, or
    (array, its rate). An array is (n,) or (n, channels), of floats or of integers at full scale.
    Raises MediaError for what is missing, empty, damaged, silent of samples or not sound, and
    MissingExtraError when the format needs an optional package.
    """
    if not 0 <= start < math.inf or (end is not None and not start < end < math.inf):
        raise InputError(f"the part from {start} s to {end} s of a recording is empty")
    samples, found_rate, name = _read(source, rate, start, end)
    notices: list[str] = []
    if len(samples) == 0:
        part = f" from {start:g} s on" if start else ""
        raise MediaError(f"{name} has no sound in it{part}: zero samples")
    if not np.isfinite(samples).all():
        raise MediaError(f"{name} has samples that are NaN or infinite: it is damaged")
    if samples.shape[1] > 1:
        notices.append(f"{name}: {samples.shape[1]} channels mixed down to one")
    mono = samples.mean(axis=1) if samples.shape[1] > 1 else samples[:, 0]
    if found_rate != rate:
        mono = resample(mono, found_rate, rate)
        notices.append(f"{name}: resampled from {found_rate:g} Hz to {rate} Hz")
    peak = float(np.abs(mono).max(initial=0.0))
    if peak > 1:
        mono = mono / np.float32(peak)
        notices.append(f"{name}: peaks at {peak:.3g} times full scale, turned down to it")
    return Waveform(np.ascontiguousarray(mono, dtype=np.float32), rate, notices)


def waveform_seconds(source: AudioSource, rate: int = 16_000) -> float:
    """Length of a recording in seconds; a file's header is enough where it tells.

    Raises MediaError and MissingExtraError as ``load_waveform`` does.
    """
    if not isinstance(source, str | os.PathLike | bytes):
        samples, found_rate, _ = _from_array(source, rate)
        return len(samples) / found_rate
    found = find_source(source, "recording")
    file = _open(found)
    if file is None:
        from gemma4_mlx.processing.audio_containers import container_seconds

        return container_seconds(found)
    with file:
        return file.frames / file.samplerate


def resample(samples: np.ndarray, old_rate: float, new_rate: float) -> np.ndarray:
    """Samples (n,) at another rate: ceil(n · new / old) of them, float32."""
    import soxr

    wanted = math.ceil(len(samples) * new_rate / old_rate)
    out = soxr.resample(samples.astype(np.float32), old_rate, new_rate, quality="HQ")
    return np.pad(out, (0, max(0, wanted - len(out))))[:wanted]


def _read(
    source: AudioSource, rate: int, start: float, end: float | None
) -> tuple[np.ndarray, float, str]:
    """Samples (n, channels) float32 of the part, their rate, and a name for messages."""
    if not isinstance(source, str | os.PathLike | bytes):
        samples, found_rate, name = _from_array(source, rate)
        return _part(samples, found_rate, start, end), found_rate, name
    found = find_source(source, "recording")
    file = _open(found)
    if file is None:
        from gemma4_mlx.processing.audio_containers import decode_container

        samples, found_rate = decode_container(found)
        return _part(samples, found_rate, start, end), found_rate, found.name
    with file:
        first = min(round(start * file.samplerate), file.frames)
        last = file.frames if end is None else min(round(end * file.samplerate), file.frames)
        # A frame of MP3 needs those before it, which libsndfile's seek forgets: read them too.
        skip = first if file.format == "MP3" else 0
        try:
            if first > skip:
                file.seek(first)
            samples = file.read(max(last - first, 0) + skip, dtype="float32", always_2d=True)[skip:]
        except Exception as error:  # libsndfile's errors and those of its decoders
            raise MediaError(f"{found.name} is a damaged recording: {error}") from None
        slack = _MP3_SLACK if file.format == "MP3" else 0
        if len(samples) < last - first - slack:
            raise MediaError(
                f"{found.name} is damaged or cut short: {last - first} samples expected, "
                f"{len(samples)} found"
            )
        return samples, file.samplerate, found.name


def _open(source: Source) -> Any:
    """The recording as an open ``soundfile.SoundFile``; None when libsndfile does not know it."""
    import soundfile

    with source.open() as raw:
        refuse_cut_short(raw, source.name)
    # By a path that ends in .mp3 libmpg123 is made to search any file for frames, and to complain.
    by_content = source.path is None or source.path.suffix.lower() == ".mp3"
    target = source.open() if by_content else str(source.path)
    try:
        file = soundfile.SoundFile(target)
    except soundfile.LibsndfileError as error:
        # Known by its first bytes and yet not readable: no other reader will do better.
        if source.head(4) in (b"RIFF", b"fLaC", b"OggS"):
            raise MediaError(f"{source.name} is a damaged recording: {error}") from None
        return None
    if file.format == "MP3":
        file = _counted_mp3(source, file)
    if file.frames == 0:
        file.close()
        raise MediaError(f"{source.name} has no sound in it: zero samples")
    _check_rate(file.samplerate, source.name)
    return file


def _counted_mp3(source: Source, file: Any) -> Any:
    """The open file, or one that knows its true length where libsndfile guessed another."""
    import soundfile

    with source.open() as raw:
        data = raw.read()
    length = count_frames(data)
    if length is None or abs(length.samples - file.frames) <= _MP3_SLACK:
        return file
    promised = file.frames
    file.close()
    if length.has_info and length.samples < promised:
        raise MediaError(
            f"{source.name} is cut short: its header promises {promised} samples, "
            f"{length.samples} found"
        )
    return soundfile.SoundFile(io.BytesIO(with_info_frame(data, length)))


def _part(samples: np.ndarray, rate: float, start: float, end: float | None) -> np.ndarray:
    return samples[round(start * rate) : None if end is None else round(end * rate)]


def _check_rate(rate: float, name: str) -> None:
    if not _LOWEST_RATE <= rate <= _HIGHEST_RATE:
        raise MediaError(
            f"{name} has the rate {rate!r}; expected its rate in Hz, from {_LOWEST_RATE} to "
            f"{_HIGHEST_RATE}"
        )


def _from_array(source: Any, rate: int) -> tuple[np.ndarray, float, str]:
    name = "the recording"
    if isinstance(source, tuple):
        if len(source) != 2 or not isinstance(source[1], Real) or isinstance(source[1], bool):
            raise MediaError("a recording given as a tuple is (array, its rate in Hz)")
        source, rate = source
        _check_rate(rate, name)
    array = as_array(source, "a recording")
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or (array.shape[1] > 32 and array.size):
        raise MediaError(
            f"a recording has the shape {array.shape}; expected (samples,) or (samples, channels)"
        )
    if array.dtype == np.uint8:
        array = (array.astype(np.float32) - 128) / 128
    elif np.issubdtype(array.dtype, np.signedinteger):
        array = array / -float(np.iinfo(array.dtype).min)
    elif not np.issubdtype(array.dtype, np.floating):
        raise MediaError(f"a recording is {array.dtype}; expected floats from -1 to 1")
    return array.astype(np.float32), rate, name
