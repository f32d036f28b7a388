"""Cutting a long recording into windows that the model can hear.

Gemma 4 hears so much at once as its ``processor_config.json`` says, 30 seconds in all released
models. A longer recording is cut where it is quietest near the end of each window, which is between
words more often than not; the windows join without gap or overlap, so that nothing is lost and
nothing said twice.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

_SEARCH_SECONDS = 8.0  # how far before the end of a window a quieter place is looked for
_QUIET_SECONDS = 0.2  # a pause is heard at this length, a plosive's closure is shorter
_SHORTEST_SECONDS = 1.0  # no window is left with less


@dataclass(frozen=True)
class Window:
    """Samples ``start`` to ``stop`` of a recording."""

    start: int
    stop: int


def cut_windows(samples: np.ndarray, rate: int, longest: int) -> Iterator[Window]:
    """Windows of at most ``longest`` samples that together are the whole recording (samples,)."""
    search = min(int(_SEARCH_SECONDS * rate), longest // 2)
    shortest = min(int(_SHORTEST_SECONDS * rate), longest // 4)
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
