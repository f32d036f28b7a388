"""How far transcribing is: the recording at hand, and all of them."""

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gemma4_cli.console import status, statuses
from gemma4_cli.pace import in_words
from gemma4_cli.transcribe.inputs import Recording
from gemma4_mlx.speech.clock import clock

if TYPE_CHECKING:
    from gemma4_mlx.speech.options import Options

_SETTLED = 1.0  # seconds of work after which a rate means something
_NAME = 20  # characters of a file's name, so that the figures behind it stay on the screen


class Progress:
    """Drawn on a terminal and nowhere else. All seconds count from ``asked.start``."""

    def __init__(self, recordings: Sequence[Recording], asked: "Options"):
        self._recordings = recordings
        self._number = 0
        self._at = 0.0  # seconds into the recording at hand
        self._heard = 0.0  # seconds of recordings that are done
        self._shown = sys.stderr.isatty()
        self._lengths: list[float | None] = [None] * len(recordings)
        if self._shown and len(recordings) > 1:
            status("looking at the recordings")
            self._lengths = [_seconds(recording, asked) for recording in recordings]
        self._began = time.monotonic()

    def opened(self, number: int, seconds: float | None) -> None:
        """Recording ``number`` has begun."""
        self._number, self._at, self._lengths[number] = number, 0.0, seconds
        self.draw()

    def at(self, seconds: float) -> None:
        """So far into the recording at hand."""
        self._at = seconds
        self.draw()

    def done(self, number: int, seconds: float) -> None:
        """So much of recording ``number`` was heard, and no more will be."""
        self._heard += seconds
        self._number, self._at, self._lengths[number] = number, 0.0, 0.0

    def draw(self) -> None:
        """A line for the recording, and where there are several, one for all."""
        if not self._shown:
            return
        name, length = self._recordings[self._number].name, self._lengths[self._number]
        lines = [(self._line(_short(name), self._at, length), self._at, length)]
        if len(self._recordings) > 1:
            place = f"{self._number + 1} of {len(self._recordings)}"
            done = self._heard + self._at
            left = [length for length in self._lengths if length is not None]
            total = self._heard + sum(left) if len(left) == len(self._lengths) else None
            lines.append((self._line(place, done, total), done, total))
        statuses(lines)

    def _line(self, name: str, done: float, total: float | None) -> str:
        line = f"{name}: {clock(done)}" + ("" if total is None else f" of {clock(total)}")
        spent = time.monotonic() - self._began
        heard = self._heard + self._at
        if spent < _SETTLED or heard <= 0:
            return line
        speed = heard / spent
        if total is not None:
            line += f", {in_words(max(0.0, total - done) / speed)} left"
        return f"{line}, {speed:.1f} × real time"


def _seconds(recording: Recording, asked: "Options") -> float | None:
    """By its header; None where that does not tell."""
    from gemma4_mlx.errors import Gemma4Error
    from gemma4_mlx.processing.sound_stream import open_sound

    try:
        with open_sound(recording.path, start=asked.start, end=asked.end) as sound:
            return sound.seconds
    except (Gemma4Error, OSError):
        return 0.0  # it is complained of when its turn comes


def _short(name: str) -> str:
    half = (_NAME - 1) // 2
    return name if len(name) <= _NAME else f"{name[:half]}…{name[-half:]}"
