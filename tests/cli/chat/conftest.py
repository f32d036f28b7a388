"""A keyboard that types what a test says."""

from collections.abc import Callable, Iterator

import pytest

from tests.cli.conftest import Keyboard


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
