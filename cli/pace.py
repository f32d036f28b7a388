"""How far work on many bytes is, how fast it goes and how long it will take."""

import time

from gemma4_cli.console import status
from gemma4_cli.units import size

_EVERY = 0.1  # seconds between two drawings
_SETTLED = 1.0  # seconds after which a rate means something


class Pace:
    """Called with what is done and all of it, it says so on a terminal and nowhere else."""

    def __init__(self, doing: str, unit: str = "bytes"):
        self.doing, self.unit = doing, unit
        self.began: tuple[float, int] | None = None
        self.drawn = 0.0

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if self.began is None:
            self.began = now, done  # an earlier run may have done some
        if done < total and now - self.drawn < _EVERY:
            return
        self.drawn = now
        status(self.message(now, done, total), done, total)

    def message(self, now: float, done: int, total: int) -> str:
        """One line, without rate and time left while there is nothing to tell them from."""
        amount = size if self.unit == "bytes" else _count
        line = f"{self.doing}: {amount(done)} of {amount(total)}"
        start, first = self.began or (now, done)
        seconds = now - start
        if seconds < _SETTLED or done <= first:
            return line
        rate = (done - first) / seconds
        return f"{line}, {amount(round(rate))}/s, {in_words((total - done) / rate)} left"


def _count(number: int) -> str:
    return f"{number / 1e6:,.0f}M"


def in_words(seconds: float) -> str:
    """``42 s``, ``3 min 20 s``, ``1 h 05 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
