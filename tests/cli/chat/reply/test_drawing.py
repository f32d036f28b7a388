"""Rows of pieces: as rich draws Markdown, but for what it would lose."""

import random
from collections.abc import Callable

import pytest
from rich.markdown import Markdown
from rich.segment import Segment

from gemma4_cli.chat.reply.drawing import Drawing
from gemma4_cli.chat.reply.markdown import Piece
from tests.cli.chat.reply.replies import LINES, reply
from tests.cli.chat.reply.terminal import Terminal, picture_of

Draw = Callable[..., list[str]]


@pytest.fixture
def drawing(monkeypatch: pytest.MonkeyPatch) -> Drawing:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return Drawing(Terminal())


@pytest.fixture
def draw(drawing: Drawing) -> Draw:
    """The rows of a text, without their colours."""

    def rows(text: str, width: int = 80) -> list[str]:
        return picture_of(drawing.rows(Piece(text), width), width).text()

    return rows


@pytest.mark.parametrize("seed", range(60))
def test_as_rich_draws_it(drawing: Drawing, seed: int) -> None:
    source = random.Random(seed)
    text = reply(source, LINES).replace("\x1b", "").replace("\x07", "")
    width = source.choice([80, 40, 30])
    options = drawing._console.options.update(width=width, height=None)
    segments = drawing._console.render(Markdown(text, hyperlinks=False), options)
    rich = [drawing._row(row) for row in Segment.split_lines(segments)] if text.strip() else []
    assert drawing.rows(Piece(text), width) == rich


def test_numbers_do_not_move_when_items_come(draw: Draw) -> None:
    text = "\n".join(f"{number}. item" for number in range(1, 12))
    assert draw(text)[1:4] == [" 1 item", " 2 item", " 3 item"]
    assert draw(text)[9:] == [" 9 item", " 10 item", " 11 item"]
    assert draw("0. item")[1:] == [" 0 item"]


def test_a_table_is_whole_on_a_narrow_terminal(draw: Draw) -> None:
    table = "|Name|Long heading|Value|\n|-|-|-|\n|someverylongwordindeed|two words|1|"
    cells = "".join("".join(draw(table, 20)).split())
    for letters in ("someverylongword", "Longheading"):
        assert all(cells.count(letter) >= letters.count(letter) for letter in letters)
    assert "…" not in cells
    many = "|" + "".join(f"h{i}|" for i in range(9)) + "\n" + "|-" * 9 + "|\n"
    rows = draw(many + "|" + "".join(f"cell{i}|" for i in range(9)), 20)
    assert rows[1:] == [f"h{i}: cell{i}" for i in range(9)]
    assert draw(many, 20)[1:] == [f"h{i}:" for i in range(9)]


@pytest.mark.parametrize("width", [20, 8, 3, 1])
@pytest.mark.parametrize(
    "text",
    [
        ">" * 9 + " words in a deep quote",
        "\n".join("  " * depth + f"- word{depth}" for depth in range(9)),
        "\n".join("   " * depth + f"1. word{depth}" for depth in range(9)),
        "- " * 30 + "too deep",
        "> - > - > 1. ```\n> - > - > 1. code in there",
        "# A heading with averyveryveryverylongword",
    ],
)
def test_deep_nesting_loses_no_words(draw: Draw, text: str, width: int) -> None:
    letters = "".join(draw(text, width))
    for word in text.split():
        if word.isalnum() and not word[0].isdigit():
            assert all(letters.count(letter) for letter in word), word


def test_untrusted_text_is_shown_as_it_is(drawing: Drawing, draw: Draw) -> None:
    text = "[red]x[/red] [link=http://a.b]y[/link] :smile: &#27;[31m </kbd>"
    assert draw(text) == ["[red]x[/red] [link=http://a.b]y[/link] :smile: �[31m </kbd>"]
    assert "\x1b" not in "".join(drawing.rows(Piece(text), 80))


def test_html_keeps_its_lines(draw: Draw) -> None:
    assert draw("<ul>\n  <li>a</li>\n</ul>\n\ntext") == [
        "<ul>",
        "  <li>a</li>",
        "</ul>",
        "",
        "text",
    ]


def test_code_is_highlighted_and_unknown_languages_are_not(drawing: Drawing) -> None:
    known = drawing.rows(Piece("```python\nx = 1\n```"), 40)
    unknown = drawing.rows(Piece("```no-such-language\nx = 1\n```"), 40)
    assert known[1].count("\x1b[38;2;") > unknown[1].count("\x1b[38;2;") > 0


def test_lines_of_code_that_can_go_up(drawing: Drawing) -> None:
    code = "".join(f"line {number}\n" for number in range(30))

    def first(text: str, room: int = 10) -> int:
        return drawing.code_that_fits(Piece(text), 40, room)

    assert first("text\n" * 30) == 0
    assert first("```\n") == first("```") == 0
    assert first("```\n" + code) == 21  # nine lines and the edge of the block
    # Empty lines are not shown if the fence closes, so they and the one before them stay.
    assert first("```\n" + code + "\n" * 20 + "``") == 29
    assert first("```\n" + code, 100) == 0
    assert first("```\n" + code.replace("\n", " and a word" * 4 + "\n")) == 26  # two rows a line
    above = Piece("```\n" + code, last=21)
    below = Piece("```\n" + code, "same", first=21)
    whole = drawing.rows(Piece("```\n" + code), 40)
    assert drawing.rows(above, 40) + drawing.rows(below, 40) == whole
