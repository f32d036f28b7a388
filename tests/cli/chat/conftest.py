"""A keyboard that types what a test says, and the sessions that a chat makes."""

import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gemma4_mlx.generation import session as session_module


class Keyboard(io.StringIO):
    """Stands for a terminal's input."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def types(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Sets what will be typed, an exception class in a line's place is raised; returns the prompts
    that were shown."""

    def set_lines(*lines: str | type[BaseException]) -> list[str]:
        prompts: list[str] = []
        waiting: Iterator[str | type[BaseException]] = iter([*lines, EOFError])

        def read(prompt: str = "") -> str:
            prompts.append(prompt)
            line = next(waiting)
            if isinstance(line, str):
                return line
            raise line

        monkeypatch.setattr("sys.stdin", Keyboard())
        monkeypatch.setattr("builtins.input", read)
        return prompts

    return set_lines


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The ChatSessions that were made."""
    made: list[Any] = []

    class Noted(session_module.ChatSession):
        def __init__(self, *args: Any, **settings: Any):
            super().__init__(*args, **settings)
            made.append(self)

    monkeypatch.setattr(session_module, "ChatSession", Noted)
    return made
