"""When somebody speaks, told from the loudness of short frames against the room's own noise.

A room hums at a steady level; speech rises far above it and falls back to it between syllables.
So a frame is loud when it exceeds, by a margin, the quietest moment of the seconds before it and
of the second after it: a fan that comes on is loud only until that second has passed, and someone
who speaks from the first sample on is told from the room by the gaps between syllables. A click,
as of the key that started the recording, is too short to count. Only the band of a telephone is
listened to: below it rooms rumble, above it microphones hiss.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

_FRAME = 0.02  # seconds
_BEFORE, _AFTER = 3.0, 1.0  # seconds in which the room's noise is looked for
_LEAST = 0.5  # seconds of them that must exist
_SMOOTHED = 3  # frames over which the noise is averaged
_MARGIN, _STILL = 10.0, 6.0  # dB above the noise of speech, and of what belongs to it
_QUIETEST = -75.0  # dBFS of the noise at least: digital silence is no measure
_WORD, _LOUD = 15, 6  # so many of so many frames on end make a word: 120 of 300 ms
_BAND = 300.0, 3400.0  # Hz


class VoiceActivity:
    """Takes samples (n,) float32 at ``rate`` Hz as they come.

    ``begin`` is the sample at which speech begins, ``end`` that at which it ends or has ended so
    far; both None while nobody has spoken. What comes later can correct both.
    """

    def __init__(self, rate: int):
        self.begin: int | None = None
        self.end: int | None = None
        self._frame = round(rate * _FRAME)
        self._rest = np.zeros(0, np.float32)
        self._window = np.hanning(self._frame + 1)[:-1].astype(np.float32)
        low, high = (round(edge * _FRAME) for edge in _BAND)
        self._bins = slice(low, high + 1)
        self._power = np.zeros(0, np.float32)

    def add(self, samples: np.ndarray) -> None:
        """More sound, in blocks of any size."""
        sound = np.concatenate([self._rest, samples])
        whole = len(sound) // self._frame * self._frame
        self._rest = sound[whole:]
        if not whole:
            return
        frames = sound[:whole].reshape(-1, self._frame) * self._window
        spectrum = np.abs(np.fft.rfft(frames, axis=1)[:, self._bins]) ** 2
        power = 2 * spectrum.sum(axis=1) / (self._frame * np.square(self._window).sum())
        self._power = np.concatenate([self._power, power])
        self._judge()

    def _judge(self) -> None:
        levels = decibels(self._power)
        noise = decibels(_smooth(self._power))
        before, after = _quietest_before(noise), _quietest_after(noise)
        # Both must agree that there is speech; where it begins, either may tell.
        strict = np.fmax(before, after)
        above = levels - np.maximum(strict, _QUIETEST)
        spoken = np.flatnonzero(_in_words(above > _MARGIN))
        if not len(spoken):
            self.begin = self.end = None
            return
        first, last = int(spoken[0]), int(spoken[-1])
        lenient = levels - np.fmax(np.fmin(before, after), _QUIETEST)
        earlier = np.flatnonzero(_in_words(lenient > _STILL)[:first])[::-1]
        later = np.flatnonzero(_in_words(above > _STILL)[last:]) + last
        self.begin = _linked(first, earlier) * self._frame
        self.end = (_linked(last, later) + 1) * self._frame


def decibels(power: np.ndarray) -> np.ndarray:
    """Mean squares of samples in dBFS; −200 for none at all."""
    return 10 * np.log10(np.maximum(power, 1e-20))


def _smooth(power: np.ndarray) -> np.ndarray:
    padded = np.pad(power, _SMOOTHED // 2, mode="edge")
    return sliding_window_view(padded, _SMOOTHED).mean(axis=1)


def _quietest_before(noise: np.ndarray) -> np.ndarray:
    """Least of the frames up to each, NaN for those with too few before them."""
    width = round(_BEFORE / _FRAME)
    padded = np.pad(noise, (width - 1, 0), constant_values=np.inf)
    quietest = sliding_window_view(padded, width).min(axis=1)
    quietest[: round(_LEAST / _FRAME)] = np.nan
    return quietest


def _quietest_after(noise: np.ndarray) -> np.ndarray:
    """Least of the frames from each on, NaN for those whose second is not over."""
    width = round(_AFTER / _FRAME)
    quietest = np.full(len(noise), np.nan)
    if len(noise) >= width:
        quietest[: len(noise) - width + 1] = sliding_window_view(noise, width).min(axis=1)
    return quietest


def _in_words(loud: np.ndarray) -> np.ndarray:
    """Which of the loud frames have enough others near them."""
    windows = np.convolve(loud, np.ones(_WORD)) >= _LOUD  # of _WORD frames, ending at each
    return loud & sliding_window_view(windows, _WORD).any(axis=1)


def _linked(frame: int, others: np.ndarray) -> int:
    """The farthest of the others, in their order, that is reached without a second's gap."""
    for other in others.tolist():
        if abs(other - frame) > round(_AFTER / _FRAME):
            break
        frame = other
    return frame
