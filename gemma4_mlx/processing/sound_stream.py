"""A recording read block by block, so that one of ten hours needs no more memory than a minute.

The samples are those of ``load_waveform``. Deviations, since what is hours long is not thrown away
for its last minute and cannot be looked through before it is heard: a recording that is damaged or
cut short is read as far as it goes, broken samples are silence, and sound beyond full scale is
turned down by the highest peak so far. ``notices`` say all of it.
"""

from collections.abc import Generator, Iterator
from contextlib import ExitStack
from typing import Self

import numpy as np

from gemma4_mlx.errors import MediaError
from gemma4_mlx.processing.sound_health import SoundHealth
from gemma4_mlx.processing.sound_tracks import Remarks, Track
from gemma4_mlx.processing.waveform import (
    AudioSource,
    Resampler,
    check_part,
    mix_down,
    open_track,
)


def open_sound(
    source: AudioSource, rate: int = 16_000, *, start: float = 0.0, end: float | None = None
) -> "SoundStream":
    """Open a recording, or the part of it from ``start`` to ``end`` seconds, to be read in blocks.

    ``source`` is what ``load_waveform`` takes. Raises MediaError for what is missing, empty or not
    sound, and where nothing of it can be read; MissingExtraError when the format needs an optional
    package.
    """
    check_part(start, end)
    remarks = Remarks(strict=False)
    with ExitStack() as opened:
        track = open_track(source, rate, remarks, opened)
        part = track.part(start, end, remarks)
        remarks.notices += track.conversions(rate)
        return SoundStream(track, part, rate, start, end, remarks, opened.pop_all())


class SoundStream:
    """Sound as the model hears it, mono float32 at ``rate`` Hz, in blocks of about a second.

    ``seconds`` is the length of the part by the recording's header, None where it does not tell;
    ``notices`` grow while the blocks are read. A context manager: it closes its files.
    """

    def __init__(
        self,
        track: Track,
        part: Iterator[np.ndarray],
        rate: int,
        start: float,
        end: float | None,
        remarks: Remarks,
        opened: ExitStack,
    ) -> None:
        self.name = track.name
        self.rate = rate
        self.seconds: float | None = None
        if track.frames is not None:
            length = track.frames / track.rate
            self.seconds = (length if end is None else min(end, length)) - start
        self._remarks = remarks
        self._blocks = self._heard(track, part, SoundHealth(track.rate, start))
        self._opened = opened

    @property
    def notices(self) -> list[str]:
        """What was done to the sound and what is wrong with it, as far as it has been read."""
        return self._remarks.notices

    def blocks(self) -> Iterator[np.ndarray]:
        """Samples (n,) float32 in order, once; a recording that is no sound ends in MediaError."""
        return self._blocks

    def close(self) -> None:
        """Close the files: no more blocks follow."""
        self._blocks.close()
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _heard(
        self, track: Track, part: Iterator[np.ndarray], health: SoundHealth
    ) -> Generator[np.ndarray, None, None]:
        resampler = Resampler(track.rate, self.rate)
        for block in _gathered(part, round(track.rate)):
            mono = resampler.add(mix_down(health.repaired(block)))
            if len(mono):  # a resampler gives nothing until it has heard enough
                yield health.turned_down(mono)
        rest = health.turned_down(resampler.rest())
        if health.all_broken:
            raise MediaError(f"{self.name} has samples that are all NaN or infinite: it is damaged")
        self._remarks.notices += health.notices(self.name)
        if len(rest):
            yield rest


def _gathered(blocks: Iterator[np.ndarray], least: int) -> Iterator[np.ndarray]:
    """Blocks (n, channels) joined until they hold ``least`` samples; containers have short ones."""
    waiting: list[np.ndarray] = []
    for block in blocks:
        waiting.append(block)
        if sum(map(len, waiting)) >= least:
            yield np.concatenate(waiting)
            waiting = []
    if waiting:
        yield np.concatenate(waiting)
