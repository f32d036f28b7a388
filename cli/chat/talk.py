"""Speaking a message: a level meter and a clock on one line while the microphone records.

The terminal is read key by key meanwhile, so that Enter ends the recording at once, and it is put
back as it was however that ends.
"""

import math
import os
import re
import select
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gemma4_cli.console import clear_status, remark
from gemma4_mlx.errors import MediaError

if TYPE_CHECKING:
    import numpy as np

_QUIETEST = -60.0  # dBFS at the meter's left end; its right end is full scale
_EVERY = 0.08  # seconds between two drawings
_LABEL = 10  # columns
_LEAST_BAR, _LONGEST_BAR = 12, 30  # columns; the least one that a hint may leave
_RED, _GREEN, _PLAIN = "\x1b[31m", "\x1b[32m", "\x1b[0m"
_HINT = "Enter ends, Ctrl-C cancels"


def talk(limit: float, *, enter_begins: bool = False) -> "np.ndarray | None":
    """Record what is said: (n,) float32, mono, 16 kHz; None when Ctrl-C cancels it.

    Enter ends the recording, and so does a second of silence after speech, or its length reaching
    ``limit`` seconds, which is said. With ``enter_begins`` an Enter before the first word is the
    user's beginning and ends nothing. Raises MediaError without a terminal, and MissingExtraError
    and MediaError as ``microphone.record`` does.
    """
    if not sys.stdin.isatty():
        raise MediaError(
            "speaking needs a terminal, and the input is none: give a recording with --audio PATH"
        )
    from gemma4_cli.microphone import record

    clear_status()
    said: list[str] = []
    meter = Meter(limit)
    try:
        with _enter_key() as pressed:
            begun = not enter_begins

            def tick(seconds: float, level: float) -> bool:
                nonlocal begun
                meter.draw(seconds, level)
                if not pressed():
                    return True
                goes_on, begun = not begun and seconds == 0, True
                return goes_on

            try:
                samples = record(limit=limit, tick=tick, say=said.append)
            finally:
                meter.clear()
    except KeyboardInterrupt:
        return None
    for line in said:
        remark(line)
    return samples


class Meter:
    """One line on stderr, drawn over and over; nothing when stderr is not a terminal."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._drawn = 0.0
        self._width = 0
        self._shown = sys.stderr.isatty()
        self._coloured = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    def draw(self, seconds: float, level: float) -> None:
        """Show the length in seconds (0: nobody has spoken yet) and the level in dBFS."""
        now = time.monotonic()
        if not self._shown or now - self._drawn < _EVERY:
            return
        self._drawn = now
        # The last column stays free: what is written there may begin a new line.
        columns = (os.get_terminal_size(sys.stderr.fileno()).columns or 80) - 1
        line = meter_line(seconds, level, self._limit, columns)
        try:
            line.encode(sys.stderr.encoding)
        except UnicodeEncodeError:
            line = line.translate({ord("●"): "*", ord("○"): "o", ord("█"): "#", ord("·"): "."})
        self._write(line)

    def clear(self) -> None:
        """Take the line away; the cursor is where the line began."""
        if self._width:
            self._write("")

    def _write(self, line: str) -> None:
        # Blanks, not an escape sequence: they work on every terminal.
        blanks = max(0, self._width - len(line))
        self._width = len(line)
        if self._coloured:
            line = re.sub("●", f"{_RED}●{_PLAIN}", re.sub("█+", f"{_GREEN}\\g<0>{_PLAIN}", line))
        end = "\b" * blanks if line else "\r"
        print(f"\r{line}{' ' * blanks}", end=end, file=sys.stderr, flush=True)


def meter_line(seconds: float, level: float, limit: float, columns: int) -> str:
    """Clock, bar and hint in that many columns at most; what has no room is left out."""
    if seconds > 0:
        label = f"● {seconds:.1f} s"
    else:
        label = "○ no sound" if level == -math.inf else "○ speak"
    label = label.ljust(_LABEL) + " "
    hints = [f"  {_HINT}, at most {limit:g} s", f"  {_HINT}", ""]
    room = columns - len(label)
    hint = next(hint for hint in hints if room - len(hint) >= _LEAST_BAR or not hint)
    bar = max(0, min(_LONGEST_BAR, room - len(hint)))
    full = round(bar * min(1.0, max(0.0, 1 - level / _QUIETEST)))
    return (label + "█" * full + "·" * (bar - full) + hint)[: max(0, columns)]


@contextmanager
def _enter_key() -> Iterator[Callable[[], bool]]:
    """Gives a function that tells whether Enter has been pressed; other keys are left unheard."""
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)

    def pressed() -> bool:
        while select.select([terminal], [], [], 0)[0]:
            keys = os.read(terminal, 1024)
            if not keys:  # the terminal has gone
                raise KeyboardInterrupt
            if b"\r" in keys or b"\n" in keys:
                return True
        return False

    try:
        # Line by line off, echo off, Ctrl-C still a signal; keys from before are dropped.
        tty.setcbreak(terminal, termios.TCSAFLUSH)
        yield pressed
    finally:
        termios.tcsetattr(terminal, termios.TCSANOW, before)
