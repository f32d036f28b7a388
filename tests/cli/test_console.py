"""What stands on a terminal: a status while something goes on, nothing of it afterwards."""

import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gemma4_cli import console

Run = Callable[..., Any]


class Terminal(io.StringIO):
    """A stderr that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Terminal]]:
    """Makes stderr a terminal (pytest puts its own there when a test begins)."""

    def attach() -> Terminal:
        screen = Terminal()
        monkeypatch.setattr("sys.stderr", screen)
        return screen

    for name, value in {"TERM": "xterm", "COLUMNS": "80"}.items():
        monkeypatch.setenv(name, value)
    for name in ("NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    console._terminal.cache_clear()
    yield attach
    console.clear_status()
    console._terminal.cache_clear()


def test_a_status_goes_when_something_is_said(terminal: Run) -> None:
    screen = terminal()
    console.status("memo [b].wav: 0:10.0 of 0:40.0", 10, 40)
    console.status("memo [b].wav: 0:20.0 of 0:40.0", 20, 40)
    console.notice("done")
    shown = screen.getvalue()
    assert "memo [b].wav: 0:20.0 of 0:40.0" in shown
    before, after = shown.rsplit("\x1b[2K", 1)  # the line is erased, and then written to
    assert after == "gemma4: done\n"
    assert before.count("\x1b[?25l") == before.count("\x1b[?25h") == 1  # the cursor is back


def test_a_thought_is_dimmed_and_cannot_steer_the_terminal(terminal: Run) -> None:
    screen = terminal()
    console.think("a [b]\x1b[2Jc\n")
    assert screen.getvalue() == "\x1b[2ma [b][2Jc\x1b[0m\n"


def test_transcribing_shows_how_far_it_is(
    gemma4: Run, says: Run, recording: Run, terminal: Run
) -> None:
    screen = terminal()
    says("one", "two")
    result = gemma4("transcribe", recording(seconds=40), "-m", "tiny")
    assert (result.status, result.out) == (0, "one two\n")
    shown = screen.getvalue()
    assert "loading tiny" in shown and "memo.wav: 0:00.0 of 0:40.0" in shown
    assert "memo.wav: 0:39.0 of 0:40.0" in shown
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h")


def test_an_interrupt_gives_the_cursor_back(
    gemma4: Run, monkeypatch: pytest.MonkeyPatch, loaded: list[str], terminal: Run
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    screen = terminal()
    monkeypatch.setattr("gemma4_mlx.loading.load", interrupted)
    assert gemma4("generate", "Hi", "-m", "tiny").status == 130
    shown = screen.getvalue()
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h") == 1
