"""The real program in a pseudo-terminal, and what a user would see on its screen."""

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pexpect
import pyte

# Of whoever runs the tests; a size given so would count for more than the terminal's own.
_NOT_ITS_OWN = ("GEMMA4", "NO_COLOR", "COLUMNS", "LINES", "VISUAL", "EDITOR")


class Screen(pyte.HistoryScreen):
    """A terminal's screen and what has scrolled off it; answers what a program asks it."""

    def __init__(self, columns: int, lines: int, reply: Callable[[str], Any]):
        super().__init__(columns, lines, history=10_000)
        self._reply = reply

    def write_process_input(self, data: str) -> None:
        self._reply(data)


class Program:
    """A program, its keyboard and its screen."""

    def __init__(
        self, child: pexpect.spawn, columns: int, lines: int, screen: type[Screen] = Screen
    ):
        self.child = child
        self.screen = screen(columns, lines, child.send)
        self.stream = pyte.Stream(self.screen)
        self.raw = ""

    def type(self, text: str) -> None:
        """Press keys; \\r is Enter."""
        self.child.send(text)

    def enter(self, line: str) -> None:
        """A line and Enter."""
        self.type(line + "\r")

    def read(self, seconds: float = 0.05) -> bool:
        """Take in what the program has written; False when it has ended."""
        try:
            data = self.child.read_nonblocking(65536, timeout=seconds)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        self.raw += data
        self.stream.feed(data)
        return True

    @property
    def text(self) -> str:
        """All that can be seen, scrolling back included."""
        width = self.screen.columns
        past = [
            "".join(line[column].data for column in range(width)).rstrip()
            for line in self.screen.history.top
        ]
        return "\n".join([*past, *(line.rstrip() for line in self.screen.display)])

    def wait_for(self, *wanted: str, seconds: float = 30, times: int = 1) -> str:
        """Until all of it is on the screen that often; the whole text then."""
        end = time.monotonic() + seconds
        while True:
            text = self.text
            missing = [part for part in wanted if text.count(part) < times]
            if not missing:
                return text
            assert time.monotonic() < end, f"{missing} did not come:\n{text}"
            if not self.read() and self.text == text:
                raise AssertionError(f"ended without {missing}:\n{text}")

    def wait_for_end(self, seconds: float = 30) -> int:
        """The exit status."""
        end = time.monotonic() + seconds
        while self.read():
            assert time.monotonic() < end, f"it does not end:\n{self.text}"
        self.child.close()
        return -1 if self.child.exitstatus is None else int(self.child.exitstatus)


@contextmanager
def gemma4(
    *arguments: object,
    home: Path,
    columns: int = 100,
    lines: int = 40,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    screen: type[Screen] = Screen,
) -> Iterator[Program]:
    """``gemma4`` with these arguments; its history and conversations are under ``home``."""
    own = {
        **{k: v for k, v in os.environ.items() if not k.startswith(_NOT_ITS_OWN)},
        "TERM": "xterm-256color",
        "LANG": "C.UTF-8",
        "HOME": str(home),
        "XDG_STATE_HOME": str(home / "state"),
        "XDG_CONFIG_HOME": str(home / "config"),
        **(env or {}),
    }
    child = pexpect.spawn(
        sys.executable,
        ["-m", "gemma4_cli", *map(str, arguments)],
        encoding="utf-8",
        codec_errors="replace",
        dimensions=(lines, columns),
        env=own,
        cwd=cwd,
        timeout=60,
    )
    try:
        yield Program(child, columns, lines, screen)
    finally:
        child.close(force=True)
