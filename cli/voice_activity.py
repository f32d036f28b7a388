"""When somebody speaks into the microphone, as Silero's detector hears it (speech/voice.py)."""

import numpy as np

from gemma4_mlx.speech.voice import FRAME, SpeechSpans, silero


class VoiceActivity:
    """Takes samples (n,) float32 at 16 kHz as they come.

    ``begin`` is the sample at which speech begins, ``end`` that at which it ends or has ended so
    far; both None while nobody has spoken.
    """

    def __init__(self) -> None:
        self._detector = silero()
        self._speech = SpeechSpans()
        self._rest = np.zeros(0, np.float32)

    def add(self, samples: np.ndarray) -> None:
        """More sound, in blocks of any size."""
        sound = np.concatenate([self._rest, samples])
        whole = len(sound) // FRAME * FRAME
        for frame in sound[:whole].reshape(-1, FRAME):
            self._speech.add(self._detector(frame))
        self._rest = sound[whole:]

    @property
    def begin(self) -> int | None:
        spans = self._speech.spans
        return spans[0].first * FRAME if spans else None

    @property
    def end(self) -> int | None:
        spans = self._speech.spans
        return spans[-1].last * FRAME if spans else None


def decibels(power: np.ndarray) -> np.ndarray:
    """Mean squares of samples in dBFS; −200 for none at all."""
    return 10 * np.log10(np.maximum(power, 1e-20))
