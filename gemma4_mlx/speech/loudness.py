"""Where sound is quiet and where it is as loud as speech, in a window that is at hand."""

import numpy as np

from gemma4_mlx.speech.voice import RATE

_QUIET = 0.03  # seconds of the quietest place
_STEP, _LOUD = 0.01, 0.004  # seconds, and part of speech's mean energy, that count as speech
_NEAR = 0.15  # seconds by which a detector's edges are put right inwards, at most


def quietest(samples: np.ndarray, first: int, last: int) -> int:
    """The middle of the stretch with the least energy between two samples; of equals, the last.

    The second of the two where they are closer than such a stretch.
    """
    width = round(_QUIET * RATE)
    if last - first <= width:
        return last
    energy = np.concatenate([[0.0], np.cumsum(np.square(samples[first:last], dtype=np.float64))])
    inside = energy[width:] - energy[:-width]
    return first + len(inside) - 1 - int(np.argmin(inside[::-1])) + width // 2


def spoken(samples: np.ndarray, first: int, last: int) -> tuple[int, int]:
    """Where speech begins and ends in samples in which it was detected from ``first`` to ``last``.

    A detector is late for an "s" at the beginning, early for one at the end, and slow to see that
    speech is over: near the edges it gave, loudness tells better.
    """
    length = round(_STEP * RATE)
    count = len(samples) // length
    if count == 0 or last <= first:
        return first, max(first, last)
    energy = np.square(samples[: count * length].reshape(count, length)).mean(axis=1)
    inside = energy[first // length : max(first // length + 1, last // length)]
    enough = max(float(inside.mean()) * _LOUD if len(inside) else 0.0, 4 * float(energy.min()))
    loud = np.flatnonzero(energy > enough) * length
    if not len(loud):
        return first, last
    start, stop, near = int(loud[0]), int(loud[-1]) + length, round(_NEAR * RATE)
    return min(start, first + near), max(stop, last - near)
