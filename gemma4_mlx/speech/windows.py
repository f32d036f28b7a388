"""Cutting a long recording into windows that the model can hear.

Gemma 4 takes at most 30 seconds of audio. A longer recording is cut where it is quietest near the
end of each window, which is between words more often than not; the windows join without gap or
overlap, so that nothing is lost and nothing said twice.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

MAX_SECONDS = 30.0

_SEARCH_SECONDS = 8.0  # how far before the end of a window a quieter place is looked for
_QUIET_SECONDS = 0.2  # a pause is heard at this length, a plosive's closure is shorter
_SHORTEST_SECONDS = 1.0  # no window is left with less


@dataclass(frozen=True)
class Window:
    """Samples ``start`` to ``stop`` of a recording."""

    start: int
    stop: int


def cut_windows(
    samples: np.ndarray, rate: int, max_seconds: float = MAX_SECONDS
) -> Iterator[Window]:
    """Windows of at most ``max_seconds`` that together are the whole recording (samples,)."""
    longest = int(max_seconds * rate)
    search = int(min(_SEARCH_SECONDS, max_seconds / 2) * rate)
    shortest = int(min(_SHORTEST_SECONDS, max_seconds / 4) * rate)
    start, total = 0, len(samples)
    while total - start > longest:
        last = min(start + longest, total - shortest)
        first = start + longest - search
        stop = first + _quietest(samples[first:last], int(_QUIET_SECONDS * rate))
        yield Window(start, stop)
        start = stop
    if total > start:
        yield Window(start, total)


def _quietest(samples: np.ndarray, width: int) -> int:
    """The middle of the ``width`` samples with the least energy; of equals, the last."""
    if len(samples) <= width:
        return len(samples)
    energy = np.concatenate([[0.0], np.cumsum(np.square(samples, dtype=np.float64))])
    inside = energy[width:] - energy[:-width]
    quietest = len(inside) - 1 - int(np.argmin(inside[::-1]))
    return quietest + width // 2
