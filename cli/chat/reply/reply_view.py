"""A reply as it comes: Markdown on a terminal, and plain text everywhere else.

On a terminal, finished blocks are printed once and scroll away; only the last one, which is still
open, is redrawn. Output that is no terminal gets the model's text as it is, and so does a terminal
where ``NO_COLOR`` is set or that cannot move its cursor. Thoughts go to stderr, dimmed on a
terminal, and folded into one line if asked for.
"""

import os
import shutil
import sys
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Literal, Protocol

from gemma4_cli import console
from gemma4_cli.chat.reply.undisturbed import echo_off, interrupt_held

if TYPE_CHECKING:
    from gemma4_mlx.generation.stream import Chunk

# Frames a second at most, and the part of the time that drawing may take from the model.
_RATE = 15.0
_SHARE = 0.1
_STATUS_RATE = 4.0


class ReplyView:
    """Shows one reply, chunk by chunk; from ``open`` to ``close`` nothing else writes."""

    def __init__(self, thoughts: Literal["show", "fold"]):
        self._text: _Text = _Drawn() if _can_draw() else _Plain()
        # Where the line editor shows what was typed ahead; a plain input() would not.
        self._quiet = sys.stdout.isatty() and not _is_dumb()
        self._fold = thoughts == "fold" and sys.stderr.isatty()
        self._thought: _Thought | None = None
        self._restore_echo: Callable[[], None] | None = None

    def open(self) -> None:
        """The message is being read: say so, and show no keys where the reply is to stand."""
        with interrupt_held():
            if self._quiet and self._restore_echo is None:
                self._restore_echo = echo_off()
            console.status("reading the message")

    def take(self, chunk: "Chunk") -> None:
        """Show what has come."""
        with interrupt_held():
            if self._quiet and self._restore_echo is None:
                self._restore_echo = echo_off()
            if chunk.notices:
                (self._thought or self._text).make_way()
                console.notices(chunk.notices)
            if chunk.thought:
                if self._thought is None:
                    self._text.break_off()
                    self._thought = _Folded() if self._fold else _Thought()
                self._thought.add(chunk.thought, len(chunk.token_ids))
            if chunk.text:
                if self._thought is not None:
                    self._thought.end(before_text=True)
                    self._thought = None
                self._text.add(chunk.text)

    def close(self) -> None:
        """Show all that has come, for good; the cursor is at the start of a line then."""
        with interrupt_held():
            try:
                if self._thought is not None:
                    self._thought.end()
                    self._thought = None
                self._text.end()
            finally:
                console.clear_status()
                if self._restore_echo is not None:
                    self._restore_echo()
                    self._restore_echo = None


def _can_draw() -> bool:
    return (
        sys.stdout.isatty()
        and not os.environ.get("NO_COLOR")
        and not _is_dumb()
        and (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")
    )


def _is_dumb() -> bool:
    return os.environ.get("TERM", "").lower() in ("dumb", "unknown")


class _Text(Protocol):
    def add(self, text: str) -> None:
        """Show more of the reply."""

    def make_way(self) -> None:
        """A line from elsewhere comes next."""

    def break_off(self) -> None:
        """A thought comes next; text after it begins anew."""

    def end(self) -> None:
        """All of it is final, the cursor at the start of a line."""


class _Plain:
    """The text as the model gave it."""

    def __init__(self) -> None:
        self._open = False

    def add(self, text: str) -> None:
        console.say(text)
        self._open = not text.endswith("\n")

    def make_way(self) -> None:
        """The console begins a new line by itself."""

    def break_off(self) -> None:
        if sys.stdout.isatty():
            self.end()

    def end(self) -> None:
        if self._open:
            console.say("\n")
            self._open = False


class _Drawn:
    """The text drawn as Markdown."""

    def __init__(self) -> None:
        from gemma4_cli.chat.reply.drawing import Drawing
        from gemma4_cli.chat.reply.markdown import Pieces
        from gemma4_cli.chat.reply.region import Region

        self._pieces, self._drawing = Pieces(), Drawing(sys.stdout)
        self._region = Region(_write, shutil.get_terminal_size)
        self._open = False
        self._next = 0.0  # when the next frame is due

    def add(self, text: str) -> None:
        if not self._open:
            console.clear_status()
            self._open = True
        self._pieces.add(text.translate(console._CONTROLS))
        began = perf_counter()
        if began >= self._next:
            self._draw()
            now = perf_counter()
            self._next = now + max(1 / _RATE, (now - began) / _SHARE)

    def break_off(self) -> None:
        self.end()

    def make_way(self) -> None:
        self._region.clear()
        self._next = 0.0

    def end(self) -> None:
        if self._open:
            self._draw(last=True)
            self._open = False

    def _draw(self, last: bool = False) -> None:
        width, height = shutil.get_terminal_size()
        pieces, drawing = self._pieces, self._drawing
        final = pieces.finished() + (pieces.end() if last else [])
        rows = drawing.rows(pieces.rest, width)
        if len(rows) >= height:
            line = drawing.code_that_fits(pieces.rest, width, height // 2)
            if line > pieces.rest.first:
                final.append(pieces.cut_code(line))
                rows = drawing.rows(pieces.rest, width)
        self._region.draw([row for piece in final for row in drawing.rows(piece, width)], rows)


def _write(frame: str) -> None:
    sys.stdout.write(frame)
    sys.stdout.flush()


class _Thought:
    """A thought, shown as it comes."""

    def __init__(self) -> None:
        self._began, self._tokens, self._last = perf_counter(), 0, ""

    def add(self, text: str, tokens: int) -> None:
        """More of it, read from so many tokens."""
        self._tokens += tokens
        self._last = (self._last + text)[-2:]
        self._show(text)

    def make_way(self) -> None:
        """A line from elsewhere comes next."""
        self._end_lines(1)

    def end(self, before_text: bool = False) -> None:
        """That was it; an empty line parts it from text."""
        self._end_lines(2 if before_text else 1)

    def _end_lines(self, wanted: int) -> None:
        have = len(self._last) - len(self._last.rstrip("\n"))
        if have < wanted:
            console.think("\n" * (wanted - have))
            self._last = (self._last + "\n" * (wanted - have))[-2:]

    def _show(self, text: str) -> None:
        console.think(text)


class _Folded(_Thought):
    """A thought of which only a line is shown."""

    _next = 0.0

    def _show(self, text: str) -> None:
        now = perf_counter()
        if now >= self._next:
            console.status(f"thinking: {self._tokens:,} tokens")
            self._next = now + 1 / _STATUS_RATE

    def make_way(self) -> None:
        """The console takes the status away by itself."""

    def end(self, before_text: bool = False) -> None:
        console.clear_status()
        seconds = perf_counter() - self._began
        plural = "" if self._tokens == 1 else "s"
        console.think(f"thought for {seconds:.1f} s, {self._tokens:,} token{plural}\n")
