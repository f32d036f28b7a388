"""What goes where: replies on stdout, everything said about them on stderr."""

import sys
from collections.abc import Iterable

TRACEBACK_VARIABLE = "GEMMA4_TRACEBACK"

# A reply must not move the cursor, recolour the screen or write to the clipboard.
_CONTROLS = {code: None for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}

_DIM, _PLAIN, _ERASE_LINE = "\x1b[2m", "\x1b[0m", "\r\x1b[K"


def complain(message: str) -> None:
    """One line about what went wrong."""
    _erase()
    print(f"gemma4: {' '.join(message.split())}", file=sys.stderr, flush=True)


def notice(message: str) -> None:
    """One line about something worth knowing."""
    _erase()
    print(f"gemma4: {message}", file=sys.stderr, flush=True)


def notices(messages: Iterable[str], about: str = "") -> None:
    """Several notices, each with what it is about unless it says so itself."""
    for message in messages:
        notice(message if about in message else f"{about}: {message}")


def say(text: str, end: str = "") -> None:
    """A piece of a reply, at once."""
    _erase()
    shown = text.translate(_CONTROLS) if sys.stdout.isatty() else text
    print(shown, end=end, flush=True)


def think(text: str) -> None:
    """A piece of a thought, dimmed on a terminal, never on stdout."""
    _erase()
    if sys.stderr.isatty():
        text = f"{_DIM}{text.translate(_CONTROLS)}{_PLAIN}"
    print(text, end="", file=sys.stderr, flush=True)


_status_shown = False


def status(message: str) -> None:
    """What is going on, on one line that the next output replaces; on a terminal only."""
    global _status_shown
    if sys.stderr.isatty():
        print(f"{_ERASE_LINE}{_DIM}{message}{_PLAIN}", end="", file=sys.stderr, flush=True)
        _status_shown = True


def prefill_status(done: int, total: int) -> None:
    """How far a long prompt has been read."""
    if done < total:
        status(f"reading the prompt: {done:,} of {total:,} tokens")


def clock(seconds: float) -> str:
    """1:02:03 or 2:03."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def _erase() -> None:
    global _status_shown
    if _status_shown:
        print(_ERASE_LINE, end="", file=sys.stderr, flush=True)
        _status_shown = False
