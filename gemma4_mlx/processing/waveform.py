"""Recordings as the model hears them: one channel, 16 kHz, float32 in [−1, 1].

Arrays are read by ``sound_arrays``, files by ``sound_files``, and what libsndfile does not know
(m4a, mp4, mov, webm) by ``audio_containers``. Channels are averaged and soxr resamples in high
quality, which is what transformers' ``load_audio`` does, with equal samples. Deviations: a
recording that exceeds full scale is turned down to it; every change is told in ``notices``; and
what is damaged or cut short is refused. ``sound_stream`` reads what is too long for one array.
"""

import math
import os
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np

from gemma4_mlx.errors import MediaError
from gemma4_mlx.processing.sound_arrays import array_track
from gemma4_mlx.processing.sound_files import file_track
from gemma4_mlx.processing.sound_tracks import Remarks, Track, empty_part
from gemma4_mlx.processing.sources import find_source

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
    check_part(start, end)
    remarks = Remarks(strict=True)
    with ExitStack() as opened:
        track = open_track(source, rate, remarks, opened)
        blocks = list(track.part(start, end, remarks))
    if not all(np.isfinite(block).all() for block in blocks):
        raise MediaError(f"{track.name} has samples that are NaN or infinite: it is damaged")
    mono = resample(np.concatenate([mix_down(block) for block in blocks]), track.rate, rate)
    notices = remarks.notices + track.conversions(rate)
    peak = float(np.abs(mono).max(initial=0.0))
    if peak > 1:
        mono = mono / np.float32(peak)
        notices.append(f"{track.name}: peaks at {peak:.3g} times full scale, turned down to it")
    return Waveform(np.ascontiguousarray(mono, dtype=np.float32), rate, notices)


def waveform_seconds(source: AudioSource, rate: int = 16_000) -> float:
    """Length of a recording in seconds; a file's header is enough where it tells.

    Raises MediaError and MissingExtraError as ``load_waveform`` does.
    """
    remarks = Remarks(strict=True)
    with ExitStack() as opened:
        track = open_track(source, rate, remarks, opened)
        frames = track.frames
        if frames is None:
            frames = sum(len(block) for block in track.part(0, None, remarks))
    return frames / track.rate


def open_track(source: AudioSource, rate: int, remarks: Remarks, opened: ExitStack) -> Track:
    """The sound of any source, not yet read; an array alone has the given rate.

    ``opened`` closes the files that it is read from.
    """
    if not isinstance(source, str | os.PathLike | bytes):
        return array_track(source, rate)
    found = find_source(source, "recording")
    track = file_track(found, remarks, opened)
    if track is None:
        from gemma4_mlx.processing.audio_containers import container_track

        track = container_track(found, remarks, opened)
    return track


def check_part(start: float, end: float | None) -> None:
    """InputError unless ``start`` and ``end`` seconds enclose a part of a recording."""
    if not 0 <= start < math.inf or (end is not None and not start < end < math.inf):
        raise empty_part(start, end)


def mix_down(samples: np.ndarray) -> np.ndarray:
    """(n, channels) to the mean of the channels, (n,)."""
    mono: np.ndarray = samples.mean(axis=1) if samples.shape[1] > 1 else samples[:, 0]
    return mono


def resample(samples: np.ndarray, old_rate: float, new_rate: float) -> np.ndarray:
    """Samples (n,) at another rate: ceil(n · new / old) of them, float32."""
    resampler = Resampler(old_rate, new_rate)
    return np.concatenate([resampler.add(samples), resampler.rest()])


class Resampler:
    """``resample`` piece by piece, with equal samples."""

    def __init__(self, old_rate: float, new_rate: float) -> None:
        import soxr

        self._old, self._new = old_rate, new_rate
        self._soxr = soxr.ResampleStream(old_rate, new_rate, 1, quality="HQ")
        self._taken = self._given = 0

    def add(self, samples: np.ndarray) -> np.ndarray:
        """As much of the sound up to here as can be told without what follows."""
        out = self._soxr.resample_chunk(samples.astype(np.float32))
        self._taken += len(samples)
        self._given += len(out)
        return out

    def rest(self) -> np.ndarray:
        """What is left when nothing follows."""
        out = self._soxr.resample_chunk(np.zeros(0, dtype=np.float32), last=True)
        wanted = math.ceil(self._taken * self._new / self._old) - self._given
        return np.pad(out, (0, max(0, wanted - len(out))))[:wanted]
