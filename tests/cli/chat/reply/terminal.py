"""A terminal that remembers what has scrolled off, fed with what the program writes."""

import io
import re
from collections.abc import Iterable, Mapping

import pyte
from pyte.screens import Char

Cell = tuple[object, ...]


class Terminal(io.TextIOBase):
    """Stands for stdout, or for stderr beside it. ``frames`` are the writes, one by one."""

    encoding = "utf-8"

    def __init__(self, columns: int = 80, lines: int = 24):
        self.screen = pyte.HistoryScreen(columns, lines, history=100_000, ratio=0.001)
        self.stream = pyte.Stream(self.screen)
        self.frames: list[str] = []

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.frames.append(text)
        # A new line as the terminal's driver writes it; what joins emoji takes no cell, and pyte
        # would drop what follows it.
        text = re.sub(r"\r?\n", "\r\n", re.sub("[\u200d\ufe0f]", "", text))
        self.stream.feed(text)
        return len(text)

    def picture(self) -> list[list[Cell]]:
        """The cells of every row, those that have scrolled off first; empty ones at ends cut."""
        rows = [
            _trimmed(line, self.screen.columns)
            for line in (*self.screen.history.top, *map(self.screen.buffer.__getitem__, self._all))
        ]
        while rows and not rows[-1]:
            rows.pop()
        return rows

    @property
    def _all(self) -> Iterable[int]:
        return range(self.screen.lines)

    def text(self) -> list[str]:
        """The rows without their colours."""
        return ["".join(str(cell[0]) for cell in row).rstrip() for row in self.picture()]

    def shown(self) -> list[str]:
        """What is on the screen now."""
        return [row.rstrip() for row in self.screen.display]

    def resize(self, columns: int, lines: int) -> None:
        """As terminals do that break long rows anew; the cursor stays with its character."""
        screen = self.screen
        if columns < screen.columns:
            rows, cursor = self._broken(columns)
        else:
            rows = [_full(screen.buffer[y], screen.columns) for y in range(screen.cursor.y + 1)]
            cursor = (screen.cursor.y, screen.cursor.x)
        above = max(0, cursor[0] - lines + 1)
        for row in rows[:above]:
            screen.history.top.append(dict(enumerate(row)))  # type: ignore[arg-type]
        screen.resize(lines, columns)
        screen.buffer.clear()
        for y, row in enumerate(rows[above:]):
            screen.buffer[y].update(enumerate(row))
        screen.cursor.y, screen.cursor.x = cursor[0] - above, cursor[1]

    def _broken(self, columns: int) -> tuple[list[list[Char]], tuple[int, int]]:
        screen, rows, cursor = self.screen, [], (0, 0)
        for y in range(screen.cursor.y + 1):
            row = _full(screen.buffer[y], screen.columns)
            while row and row[-1].data == " " and row[-1].bg == "default":
                row.pop()
            if y == screen.cursor.y:
                x = min(screen.cursor.x, len(row))
                down = max(0, x - 1) // columns
                cursor = (len(rows) + down, x - down * columns)
            rows += [row[i : i + columns] for i in range(0, max(1, len(row)), columns)]
        return rows, cursor


def _full(line: Mapping[int, Char], columns: int) -> list[Char]:
    return [line[x] if x in line else Char(" ") for x in range(columns)]


def _trimmed(line: Mapping[int, Char], columns: int) -> list[Cell]:
    cells: list[Cell] = [tuple(line[x]) if x in line else tuple(Char(" ")) for x in range(columns)]
    while cells and cells[-1] == tuple(Char(" ")):
        cells.pop()
    return cells


def picture_of(rows: Iterable[str], columns: int) -> Terminal:
    """A terminal to which these rows were written at once."""
    terminal = Terminal(columns)
    for row in rows:
        terminal.write(row + "\n")
    return terminal
