"""Rows redrawn in place: what is written, and what stays when the terminal changes."""

import re
from os import terminal_size

import pytest

from gemma4_cli.chat.reply.region import Region
from tests.cli.chat.reply.terminal import Terminal


@pytest.fixture
def terminal() -> Terminal:
    return Terminal(20, 6)


def region_of(terminal: Terminal) -> Region:
    def write(frame: str) -> None:
        terminal.write(frame)

    def size() -> terminal_size:
        return terminal_size((terminal.screen.columns, terminal.screen.lines))

    return Region(write, size)


@pytest.fixture
def region(terminal: Terminal) -> Region:
    return region_of(terminal)


def written(terminal: Terminal) -> str:
    """The last frame, without what begins and ends each."""
    return re.sub(r"\x1b\[\?\d+[hl]", "", terminal.frames[-1])


def test_what_is_final_scrolls_away(terminal: Terminal, region: Region) -> None:
    for count in range(1, 12):
        region.draw([f"final {count}"], [f"open {count}", ""])
    region.draw(["end"], [])
    terminal.write("after\n")
    assert terminal.text() == [*(f"final {count}" for count in range(1, 12)), "end", "after"]


def test_only_what_differs_is_written(terminal: Terminal, region: Region) -> None:
    region.draw([], ["one", "two"])
    region.draw([], ["one", "two and"])
    assert written(terminal) == " and"
    region.draw([], ["one", "two and", "three"])
    assert written(terminal) == "\r\nthree"
    region.draw([], ["one", "twice", "three"])
    assert written(terminal) == "\x1b[1A\r\x1b[Ktwice\r\n\x1b[Kthree"
    region.draw(["one"], ["twice", "three"])
    assert len(terminal.frames) == 4  # it is there already
    region.draw(["twice", "three"], [])
    assert written(terminal) == "\r\n\x1b[J"
    assert terminal.text() == ["one", "twice", "three"]


def test_fewer_rows_leave_nothing_below(terminal: Terminal, region: Region) -> None:
    region.draw([], ["one", "two", "three"])
    region.draw([], ["one"])
    assert terminal.text() == ["one"]
    assert (terminal.screen.cursor.y, terminal.screen.cursor.x) == (0, 3)
    region.draw(["done"], [])
    terminal.write("after")
    assert terminal.text() == ["done", "after"]


def test_rows_can_make_way(terminal: Terminal, region: Region) -> None:
    region.clear()
    region.draw(["final"], ["one", "two"])
    region.clear()
    terminal.write("a notice\n")
    region.draw([], ["one", "two", "three"])
    assert terminal.text() == ["final", "a notice", "one", "two", "three"]


def test_a_screenful_is_never_erased_at_once(terminal: Terminal, region: Region) -> None:
    region.draw([], ["one", "two"])
    region.draw(["a"], ["b", "c"])
    region.clear()
    assert not any("\x1b[2J" in frame or "\r\x1b[J" in frame for frame in terminal.frames)


def test_more_rows_than_the_screen_has(terminal: Terminal, region: Region) -> None:
    terminal.write("before\n")
    rows = [f"row {number}" for number in range(40)]
    for count in range(1, 41):
        region.draw([], rows[:count])
    assert terminal.text()[0] == "before" and len(terminal.text()) == 6
    assert terminal.shown()[1:] == ["⋮ 36 more above", "row 36", "row 37", "row 38", "row 39"]
    region.draw(rows, [])
    assert terminal.text() == ["before", *rows]


@pytest.mark.parametrize("lines", [1, 2])
def test_a_terminal_of_one_or_two_lines(lines: int) -> None:
    terminal = Terminal(20, lines)
    region = region_of(terminal)
    for count in range(1, 5):
        region.draw([], [f"row {number}" for number in range(count)])
        assert terminal.shown()[0] == f"row {count - 1}"
    region.draw(["row 0", "row 1"], [])
    assert terminal.text() == ["row 0", "row 1"]


def test_a_row_the_terminal_finds_too_long(terminal: Terminal, region: Region) -> None:
    """One emoji here, three in the terminal: it is cut while open, and whole in the end."""
    family = "👩‍👩‍👧" * 8
    region.draw([], [family, "below"])
    assert terminal.shown()[1] == "below"
    region.draw([family], ["below"])
    assert "".join(terminal.text()[:-1]) == "👩👩👧" * 8
    assert terminal.text()[-1] == "below"
    region.draw(["below"], [])
    assert terminal.text()[-1] == "below"


def test_narrower(terminal: Terminal, region: Region) -> None:
    """The terminal breaks the rows; those that follow take their place all the same."""
    terminal.write("before\n")
    region.draw([], ["sixteen letters.", "short", "sixteen letters;"])
    terminal.resize(10, 8)
    assert terminal.shown()[1:6] == ["sixteen le", "tters.", "short", "sixteen le", "tters;"]
    region.draw(["sixteen", "letters."], ["short", "sixteen"])
    assert terminal.text() == ["before", "sixteen", "letters.", "short", "sixteen"]
    terminal.resize(30, 8)
    region.draw(["short sixteen letters;"], [])
    assert terminal.text() == ["before", "sixteen", "letters.", "short sixteen letters;"]


def test_lower_and_higher(terminal: Terminal, region: Region) -> None:
    region.draw(["final"], ["one", "two", "three"])
    terminal.resize(20, 2)
    region.draw(["one", "two"], ["three", "four"])
    terminal.resize(20, 9)
    region.draw(["three", "four"], [])
    terminal.write("after")
    text = terminal.text()
    assert text[0] == "final" and text[-4:] == ["two", "three", "four", "after"] and "one" in text
