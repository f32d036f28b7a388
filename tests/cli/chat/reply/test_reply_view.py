"""A reply on a terminal, with what scrolled off it, and where there is no terminal."""

import io
import os
import random
import re
import signal
from collections.abc import Callable, Iterator
from typing import Literal

import pytest

from gemma4_cli import console
from gemma4_cli.chat.reply import reply_view
from gemma4_cli.chat.reply.drawing import Drawing
from gemma4_cli.chat.reply.markdown import Piece
from gemma4_cli.chat.reply.reply_view import ReplyView
from tests.cli.chat.reply.replies import chunk, cut, reply
from tests.cli.chat.reply.terminal import Terminal, picture_of

Open = Callable[..., Terminal]

CODE = "```python\n" + "".join(f"line_{number} = {number}\n" for number in range(60)) + "```\n"
TABLE = "|a|b|\n|-|-|\n" + "".join(
    f"|row {number}|and a long cell {number}|\n" for number in range(40)
)
ITEMS = "".join(f"{number}. item {number}\n   - below it\n" for number in range(1, 40))
WORDS = " ".join(f"word{number}" for number in range(400))


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Makes stdout and stderr one terminal of this size, on which a line stands already."""

    def attach(columns: int = 80, lines: int = 24) -> Terminal:
        screen = Terminal(columns, lines)
        screen.write("> question\n")
        screen.frames.clear()
        monkeypatch.setattr("sys.stdout", screen)
        monkeypatch.setattr("sys.stderr", screen)
        monkeypatch.setattr(
            reply_view.shutil,  # type: ignore[attr-defined]
            "get_terminal_size",
            lambda *_: os.terminal_size((screen.screen.columns, screen.screen.lines)),
        )
        return screen

    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")
    for name in ("NO_COLOR", "COLUMNS", "LINES", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    console._terminal.cache_clear()
    yield attach
    console.clear_status()
    console._screen.text = False
    console._terminal.cache_clear()


@pytest.fixture
def every_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame for every chunk, however fast they come."""
    monkeypatch.setattr(reply_view, "_RATE", 1e9)
    monkeypatch.setattr(reply_view, "_SHARE", 1e9)


def show(texts: list[str]) -> None:
    view = ReplyView("show")
    for text in texts:
        view.take(chunk(text))
    view.close()


def at_once(screen: Terminal, text: str) -> Terminal:
    """The same text drawn whole."""
    columns = screen.screen.columns
    text = text.translate(console._CONTROLS)
    rows = Drawing(screen).rows(Piece(text), columns)
    return picture_of(["> question", *rows], columns)


@pytest.mark.parametrize("seed", range(80))
def test_piece_by_piece_gives_the_same_picture(
    terminal: Open, every_chunk: None, seed: int
) -> None:
    source = random.Random(seed)
    size = source.choice([(80, 24), (20, 10), (40, 6), (20, 3), (60, 100), (7, 5)])
    screen, text = terminal(*size), reply(source)
    show(cut(source, text))
    assert screen.picture() == at_once(screen, text).picture()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000, 1040))
def test_many_more_give_the_same_picture(terminal: Open, every_chunk: None, seed: int) -> None:
    test_piece_by_piece_gives_the_same_picture(terminal, every_chunk, seed)


@pytest.mark.parametrize("size", [(80, 24), (20, 10), (40, 2)])
@pytest.mark.parametrize("text", [CODE, TABLE, ITEMS, WORDS, "> " + WORDS, f"- {WORDS}\n- b\n"])
def test_a_block_taller_than_the_screen(
    terminal: Open, every_chunk: None, text: str, size: tuple[int, int]
) -> None:
    screen = terminal(*size)
    text = f"Before.\n\n{text}\nAfter.\n"
    show([text[i : i + 40] for i in range(0, len(text), 40)])
    assert screen.picture() == at_once(screen, text).picture()


def test_lines_of_code_scroll_away_while_the_block_is_open(
    terminal: Open, every_chunk: None
) -> None:
    screen, view = terminal(80, 10), ReplyView("show")
    for line in CODE.splitlines(keepends=True)[:-1]:
        view.take(chunk(line))
    text = "\n".join(screen.text())
    assert all(f"line_{number} = {number}\n" in text + "\n" for number in range(60))
    assert "more above" not in text
    view.close()


def test_resized_in_the_middle(terminal: Open, every_chunk: None) -> None:
    screen, view = terminal(60, 24), ReplyView("show")
    view.take(chunk("First.\n\n" + WORDS[:200]))
    screen.resize(25, 24)
    view.take(chunk(WORDS[200:300]))
    screen.resize(70, 20)
    view.take(chunk(WORDS[300:600] + "\n\nEnd."))
    view.close()
    assert screen.text() == at_once(screen, "First.\n\n" + WORDS[:600] + "\n\nEnd.").text()


def test_a_hundred_tokens_a_second(terminal: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few frames, and little in each."""
    screen = terminal(80, 24)
    texts = re.findall(r"\S+\s*", f"# Head\n\n{WORDS}\n\n{ITEMS}\n\n{TABLE}\n\n{CODE}")
    now = 0.0
    monkeypatch.setattr(reply_view, "perf_counter", lambda: now)
    view = ReplyView("show")
    for text in texts:
        now += 0.01
        view.take(chunk(text))
    view.close()
    seconds = len(texts) / 100
    frames = "".join(screen.frames)
    assert len(screen.frames) <= 15 * seconds + 1
    assert len(frames.encode()) / seconds < 30_000
    assert not re.search(r"\x1b\[2J|\x1b\[H|\r\x1b\[J", frames)  # nothing clears the screen
    assert frames.count("\x1b[?25l") == frames.count("\x1b[?25h")
    assert frames.count("\x1b[?7l") <= frames.count("\x1b[?7h")


def test_drawing_takes_a_tenth_of_the_time_at_most(
    terminal: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen, clock = terminal(), iter([0.0, 0.1, 0.9, 1.11, 1.2])
    monkeypatch.setattr(reply_view, "perf_counter", lambda: next(clock))
    view = ReplyView("show")
    for text in ("one ", "two ", "three "):  # drawn from 0.0 to 0.1, not at 0.9, again at 1.11
        view.take(chunk(text))
    assert len(screen.frames) == 2


def test_ctrl_c_amid_a_frame(terminal: Open, every_chunk: None) -> None:
    screen, view = terminal(), ReplyView("show")
    view.take(chunk("Some **bold"))
    write = screen.write

    def interrupted(text: str) -> int:
        write(text)
        os.kill(os.getpid(), signal.SIGINT)
        return len(text)

    screen.write = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        view.take(chunk(" text**\n\n- and"))
    screen.write = write  # type: ignore[method-assign]
    view.close()
    view.close()
    screen.write("> next")
    assert screen.text() == ["> question", "Some bold text", "", " • and", "> next"]


def test_what_came_since_the_last_frame_is_kept(
    terminal: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = terminal()
    monkeypatch.setattr(reply_view, "perf_counter", lambda: 0.0)
    show(["```\nfirst\n", "second\n", "third"])
    assert screen.text() == ["> question", "", " first", " second", " third", ""]


def test_a_notice_stands_above_what_is_open(terminal: Open, every_chunk: None) -> None:
    screen, view = terminal(), ReplyView("show")
    view.take(chunk("Done.\n\nOpen and "))
    view.take(chunk("going on", notices=["a recording was resampled"]))
    view.close()
    assert screen.text() == [
        "> question",
        "Done.",
        "gemma4: a recording was resampled",
        "",
        "Open and going on",
    ]


def test_thoughts_are_dimmed(terminal: Open, every_chunk: None) -> None:
    screen, view = terminal(), ReplyView("show")
    for thought in ("Let me ", "th\x1b[2Jink [b]"):
        view.take(chunk(thought=thought))
    view.take(chunk(thought=" on", notices=["half of it"]))
    for text in ("**Well", "**"):
        view.take(chunk(text))
    view.take(chunk(thought="Wait."))
    view.take(chunk("End."))
    view.close()
    thought = ["Let me th[2Jink [b]", "gemma4: half of it", " on", ""]
    assert screen.text() == ["> question", *thought, "Well", "Wait.", "", "End."]
    assert "\x1b[2mLet me \x1b[0m" in "".join(screen.frames)


def test_a_folded_thought_is_one_line(
    terminal: Open, every_chunk: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(100))
    monkeypatch.setattr(reply_view, "perf_counter", lambda: next(clock) * 0.8)
    screen, view = terminal(), ReplyView("fold")
    for thought in ("one", "two", "three"):
        view.take(chunk(thought=thought))
    view.take(chunk("Text."))
    view.close()
    assert screen.text() == ["> question", "thought for 3.2 s, 3 tokens", "Text."]
    written = "".join(screen.frames)
    assert "thinking: 3 tokens" in written and "two" not in written
    assert "\x1b[2mthought for" in written


def test_a_thought_cut_off_is_told(terminal: Open) -> None:
    screen, view = terminal(), ReplyView("fold")
    view.take(chunk(thought="one"))
    view.close()
    screen.write("> next")
    (_, line, after) = screen.text()
    assert re.fullmatch(r"thought for 0\.\d s, 1 token", line) and after == "> next"


@pytest.mark.parametrize("thoughts", ["show", "fold"])
def test_pipes_get_the_bytes_as_they_come(
    monkeypatch: pytest.MonkeyPatch, thoughts: Literal["show", "fold"]
) -> None:
    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr("sys.stdout", out)
    monkeypatch.setattr("sys.stderr", err)
    view = ReplyView(thoughts)
    view.take(chunk(thought="Hm.", notices=["resampled"]))
    pieces = ["# Head\n\n**b", "old**  \x1b[31m\r\n", "|a|", "[red] 日本"]
    for piece in pieces[:3]:
        view.take(chunk(piece))
    view.take(chunk(thought="Again."))
    view.take(chunk(pieces[3]))
    view.close()
    assert out.getvalue() == "".join(pieces) + "\n"
    assert err.getvalue() == "gemma4: resampled\nHm.\n\nAgain.\n\n"


@pytest.mark.parametrize("variable", [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_plain_text_on_a_terminal(
    terminal: Open, monkeypatch: pytest.MonkeyPatch, variable: tuple[str, str]
) -> None:
    screen = terminal()
    monkeypatch.setenv(*variable)
    view = ReplyView("show")
    for text in ("# Head **b", "old**\x1b[31m [red]\x07\r\n\tx"):
        view.take(chunk(text))
    view.take(chunk(notices=["a notice"]))
    view.take(chunk("more"))
    view.close()
    assert "".join(screen.frames) == "# Head **bold**[31m [red]\n\tx\ngemma4: a notice\nmore\n"


def test_an_empty_reply_leaves_nothing(terminal: Open) -> None:
    screen = terminal()
    show([])
    show(["", "\n", " "])
    screen.write("> next")
    assert screen.text() == ["> question", "> next"]


def test_a_status_makes_room_for_the_reply(terminal: Open, every_chunk: None) -> None:
    screen, view = terminal(), ReplyView("show")
    console.status("reading the prompt", 1, 2)
    view.take(chunk("Text."))
    view.close()
    assert screen.text() == ["> question", "Text."]
