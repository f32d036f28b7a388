"""The line under a reply, whole and on narrow terminals."""

import pytest

from gemma4_cli.chat.reply.status_line import status_line
from gemma4_mlx.generation.stats import Stats


def stats(tokens: int = 42, seconds: float = 1.3016, first: float = 0.42) -> Stats:
    return Stats(1000, 1000, 0.4, tokens, seconds, first, 3 * 10**9)


def test_everything_where_there_is_room() -> None:
    line = status_line(stats(), 1204, 131_072, 2_100_000_000, columns=100)
    expected = "42 tokens · 31.5 tokens/s · first after 0.4 s · context 1,204 of 131,072 · 2.10 GB"
    assert line == expected


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        (80, "42 tokens · 31.5 tokens/s · first 0.4 s · context 1,204 of 131,072 · 2.10 GB"),
        (70, "42 tokens · 31.5 tokens/s · first 0.4 s · 1,204/131,072 · 2.10 GB"),
        (60, "42 tokens · 31.5/s · first 0.4 s · 1,204/131,072 · 2.10 GB"),
        (40, "42 tokens · 31.5/s · 1,204/131,072"),
        (20, "42 tokens · 31.5/s"),
        (10, "31.5/s"),
        (5, ""),
    ],
)
def test_parts_are_shortened_and_left_out(columns: int, line: str) -> None:
    assert status_line(stats(), 1204, 131_072, 2_100_000_000, columns=columns) == line


def test_the_terminal_says_how_much_room_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    assert status_line(stats(), 1204, 131_072, 2_100_000_000) == "42 tokens · 31.5/s"


def test_nothing_is_said_that_was_not_measured() -> None:
    assert status_line(stats(0, 0.0), 5, 10, 999, columns=80) == (
        "0 tokens · context 5 of 10 · 999 bytes"
    )
    assert status_line(stats(1, 0.0, 0.034), 5, 10, 999, columns=80) == (
        "1 token · first after 0.03 s · context 5 of 10 · 999 bytes"
    )
