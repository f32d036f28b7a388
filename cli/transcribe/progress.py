"""How far transcribing is: the recording at hand, and all of them."""

import sys
import time
from collections.abc import Sequence

from gemma4_cli.console import statuses
from gemma4_cli.pace import in_words
from gemma4_cli.transcribe.inputs import Recording
from gemma4_mlx.speech.clock import clock

_SETTLED = 1.0  # seconds of work after which a rate means something


class Progress:
    """Drawn on a terminal and nowhere else."""

    def __init__(self, recordings: Sequence[Recording]):
        self._recordings = recordings
        self._began = time.monotonic()
        self._number = 0
        self._at = 0.0  # seconds into the recording at hand
        self._length: float | None = None
        self._heard = 0.0  # seconds of recordings that are done
        self._shown = sys.stderr.isatty()
        self._lengths = [self._seconds(recording) for recording in recordings]

    def _seconds(self, recording: Recording) -> float | None:
        """By its header. None where nobody sees it, and where it takes reading the file."""
        if not self._shown or len(self._recordings) == 1:
            return None
        from gemma4_mlx.errors import Gemma4Error
        from gemma4_mlx.processing.sound_stream import open_sound

        try:
            with open_sound(recording.path) as sound:
                return sound.seconds
        except (Gemma4Error, OSError):
            return None  # it is complained of when its turn comes

    def opened(self, number: int, seconds: float | None) -> None:
        """Recording ``number`` has begun."""
        self._number, self._at, self._length = number, 0.0, seconds
        self.draw()

    def at(self, seconds: float) -> None:
        """So far into the recording at hand."""
        self._at = seconds
        self.draw()

    def done(self, seconds: float) -> None:
        """The recording at hand had this length."""
        self._heard += seconds
        self._at, self._length = 0.0, None

    def draw(self) -> None:
        """A line for the recording, and where there are several, one for all."""
        if not self._shown:
            return
        count = len(self._recordings)
        name = self._recordings[self._number].name
        lines = [(self._line(name, self._at, self._length), self._at, self._length)]
        if count > 1:
            known = [length for length in self._lengths if length is not None]
            total = sum(known) if len(known) == count else None
            place = f"{self._number + 1} of {count}"
            done = self._heard + self._at
            lines.append((self._line(place, done, total), done, total))
        statuses(lines)

    def _line(self, name: str, done: float, total: float | None) -> str:
        line = f"{name}: {clock(done)}" + ("" if total is None else f" of {clock(total)}")
        spent = time.monotonic() - self._began
        heard = self._heard + self._at
        if spent < _SETTLED or heard <= 0:
            return line
        speed = heard / spent
        line += f", {speed:.1f} × real time"
        if total is not None:
            line += f", {in_words(max(0.0, total - done) / speed)} left"
        return line
