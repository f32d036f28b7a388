"""What goes where: replies on stdout, everything said about them on stderr."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass

TRACEBACK_VARIABLE = "GEMMA4_TRACEBACK"

# A reply must not move the cursor, recolour the screen or write to the clipboard.
_CONTROLS = {code: None for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}

_DIM, _PLAIN, _ERASE_LINE = "\x1b[2m", "\x1b[0m", "\r\x1b[K"


class ReaderGone(Exception):
    """Whoever read our stdout has stopped, as ``head`` does when it has enough."""


@dataclass
class _Screen:
    """What stands on the line of the cursor, where stdout and stderr share a terminal."""

    status: bool = False
    text: bool = False

    def make_room(self, for_text: bool = False) -> None:
        """Take a status away; begin a new line unless a reply's text goes on."""
        if self.status:
            print(_ERASE_LINE, end="", file=sys.stderr, flush=True)
            self.status = False
        if self.text and not for_text:
            print(flush=True)
            self.text = False


_screen = _Screen()


def complain(message: str) -> None:
    """One line about what went wrong."""
    notice(" ".join(message.split()))


def notice(message: str) -> None:
    """One line about something worth knowing."""
    _screen.make_room()
    print(f"gemma4: {message}", file=sys.stderr, flush=True)


def notices(messages: Iterable[str], about: str = "") -> None:
    """Several notices, each with what it is about unless it says so itself."""
    for message in messages:
        notice(message if about in message else f"{about}: {message}")


def say(text: str, end: str = "") -> None:
    """A piece of a reply, at once."""
    _screen.make_room(for_text=True)
    if sys.stdout.isatty():
        text = text.translate(_CONTROLS)
        _screen.text = not (text + end).endswith("\n") if text + end else _screen.text
    try:
        print(text, end=end, flush=True)
    except BrokenPipeError:
        raise ReaderGone from None


def think(text: str) -> None:
    """A piece of a thought, dimmed on a terminal, never on stdout."""
    _screen.make_room(for_text=True)
    if sys.stderr.isatty():
        text = f"{_DIM}{text.translate(_CONTROLS)}{_PLAIN}"
    print(text, end="", file=sys.stderr, flush=True)


def status(message: str) -> None:
    """What is going on, on one line that the next output replaces; on a terminal only."""
    if sys.stderr.isatty() and not _screen.text:
        print(f"{_ERASE_LINE}{_DIM}{message}{_PLAIN}", end="", file=sys.stderr, flush=True)
        _screen.status = True


def clear_status() -> None:
    """Take the status away."""
    _screen.make_room(for_text=True)


def prefill_status(done: int, total: int) -> None:
    """How far a long prompt has been read."""
    if done < total:
        status(f"reading the prompt: {done:,} of {total:,} tokens")


def clock(seconds: float) -> str:
    """1:02:03 or 2:03."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
