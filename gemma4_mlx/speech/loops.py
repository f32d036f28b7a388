"""Noticing that a model repeats itself instead of writing down what it hears.

A decoder that has lost its place may say the same words for ever. People repeat themselves too, so
repeating alone proves nothing: it counts as a loop when more is repeated than can be said in the
time.
"""

from collections.abc import Sequence
from dataclasses import dataclass

_LONGEST = 40  # tokens of what is repeated, at most
_TIMES = 4  # times it is said, at least
_LEAST = 24  # tokens of all repetitions, at least
_RATE = 4.0  # tokens a second that repeated speech may have


@dataclass(frozen=True)
class Loop:
    """The last ``times`` × ``period`` ids, and perhaps a part of one more, are a repetition."""

    start: int
    period: int
    times: int


def find_loop(ids: Sequence[int], seconds: float) -> Loop | None:
    """The repetition that a reply to ``seconds`` of sound ends with, if nobody can have said it."""
    least = max(_LEAST, round(_RATE * seconds))
    for period in range(1, min(_LONGEST, len(ids) // _TIMES) + 1):
        start = len(ids) - period
        while start > 0 and ids[start - 1] == ids[start - 1 + period]:
            start -= 1
        repeated = len(ids) - start
        if repeated >= least and repeated >= _TIMES * period:
            return Loop(start, period, repeated // period)
    return None


def without_loop(ids: Sequence[int], loop: Loop) -> list[int]:
    """The ids with what is repeated said once."""
    return list(ids[: loop.start + loop.period])
