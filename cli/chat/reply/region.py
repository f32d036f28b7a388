"""The last rows of a terminal, redrawn in place; what is final stays above them and scrolls away.

Only what differs is written. The rows never take the whole screen, so that moving up to them is
possible, and while they are written the terminal does not break lines: where it finds a character
wider than we do, the count of rows still holds. Final rows are written with breaking on, so that
nothing of them is cut. Between two frames the cursor stands at the end of the last row, or at the
start of an empty line where there are no rows.
"""

import re
from collections.abc import Callable
from os import terminal_size

from rich.cells import cell_len

_COLORS = re.compile(r"\x1b\[[0-9;]*m")

# Terminals that know it show a frame when it is whole; others take no notice.
_BEGIN, _END = "\x1b[?2026h\x1b[?25l", "\x1b[?25h\x1b[?2026l"
_BREAK_LINES, _CUT_LINES = "\x1b[?7h", "\x1b[?7l"


class Region:
    """``write`` sends a frame to the terminal at once, ``size`` asks how large it is now."""

    def __init__(self, write: Callable[[str], None], size: Callable[[], terminal_size]):
        self._write, self._size = write, size
        self._rows: list[str] = []
        self._columns = 0

    def draw(self, final: list[str], rows: list[str]) -> None:
        """Put ``final`` in the place of the rows that stood here, for good, and ``rows`` below."""
        size = self._size()
        rows = _fit(rows, size.lines - 1)
        old, new = self._rows, final + rows
        narrower = size.columns < self._columns  # the terminal has broken our rows anew
        kept = 0 if narrower else self._kept(new, len(final), size.columns)
        if len(old) > len(new):
            kept = min(kept, max(0, len(new) - 1))
        if kept < max(len(old), len(new)) or (old and not rows):
            up = sum(self._height(row, size.columns) for row in old[kept:]) - 1
            self._write(_frame(old, new, len(final), kept, up, narrower))
        self._rows, self._columns = rows, size.columns

    def clear(self) -> None:
        """Take the rows away."""
        self.draw([], [])

    def _kept(self, new: list[str], final: int, columns: int) -> int:
        """How many rows on the screen stay as they are."""
        kept = 0
        for before, after in zip(self._rows, new, strict=False):
            if before != after or (kept < final and _may_be_cut(after, columns)):
                break
            kept += 1
        return kept

    def _height(self, row: str, columns: int) -> int:
        """Rows that a row on the screen takes by now."""
        return max(1, -(-min(cell_len(_plain(row)), self._columns) // columns))


def _frame(old: list[str], new: list[str], final: int, kept: int, up: int, narrower: bool) -> str:
    """What turns ``old`` into ``new``, of which ``kept`` rows are there and ``final`` are final.

    The first row to write is ``up`` rows above the cursor.
    """
    frame = [_BEGIN]
    rest = new[kept:]
    afresh = narrower or kept < final  # a final row may go on over the rows below it
    # 1. Go to the first row that changes, or go on where the last one ends.
    if old and kept == len(old):
        frame.append("\r\n" if rest else "")
    elif old and kept == len(old) - 1 and _goes_on(old, new, final, kept) and not narrower:
        rest[0] = new[kept][len(old[kept]) :]
    elif old:
        frame.append(_up(up) + "\r")
        if afresh or not rest:
            # Row by row: erasing a whole screen at once would move it into tmux's history.
            frame.append("\x1b[K\x1b[B" * up + "\x1b[K" + _up(up))
        else:
            frame.append("\x1b[K")
    # 2. Write what is final, and then the rows that are not.
    for index, row in enumerate(rest, kept):
        if index > kept:
            frame.append("\r\n\x1b[K")
        if index == max(final, kept):
            frame.append(_CUT_LINES)
        frame.append(row)
    frame.append(_BREAK_LINES)
    # 3. Leave nothing below.
    if len(new) == final:
        frame.append("\r\n\x1b[J" if new else "")
    elif len(old) > len(new) and not afresh:
        frame.append("\x1b7\r\n\x1b[J\x1b8")
    return "".join((*frame, _END))


def _up(rows: int) -> str:
    return f"\x1b[{rows}A" if rows else ""


def _goes_on(old: list[str], new: list[str], final: int, row: int) -> bool:
    """Whether a row that is not final has only grown."""
    return final <= row < len(new) and new[row].startswith(old[row])


def _fit(rows: list[str], room: int) -> list[str]:
    """The last rows, where there is no room for all, and how many there are above."""
    room = max(1, room)
    if len(rows) <= room:
        return rows
    shown = rows[len(rows) - room + 1 :] if room > 1 else []
    hidden = f"\x1b[2m⋮ {len(rows) - room + 1:,} more above\x1b[0m"
    return [hidden, *shown] if room > 1 else rows[-1:]


def _plain(row: str) -> str:
    return _COLORS.sub("", row)


def _may_be_cut(row: str, columns: int) -> bool:
    """Whether the terminal could have found the row too long, if it is any wider than we think."""
    plain = _plain(row)
    return cell_len(plain) + sum(not character.isascii() for character in plain) > columns
