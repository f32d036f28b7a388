"""What goes where: replies on stdout, everything said about them on stderr.

On a terminal rich draws what is going on and dims thoughts; it is imported for that alone.
"""

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

TRACEBACK_VARIABLE = "GEMMA4_TRACEBACK"
# How MLX begins when a kernel for a CPU fails to build, and when one built before does not load.
_NO_KERNEL = ("[Compile::eval_cpu]", "Could not load C++ shared library")
_WIDE = 100  # columns from which on a status has room for a long bar

# A reply must not move the cursor, recolour the screen or write to the clipboard.
_CONTROLS = {code: None for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


class ReaderGone(Exception):
    """Whoever read our stdout has stopped, as ``head`` does when it has enough."""


@dataclass
class _Screen:
    """What stands on the line of the cursor, where stdout and stderr share a terminal."""

    status: "Progress | None" = None
    text: bool = False

    def make_room(self, for_text: bool = False) -> None:
        """Take a status away; begin a new line unless a reply's text goes on."""
        if self.status is not None:
            self.status.stop()
            self.status = None
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
    print(f"gemma4: {message.translate(_CONTROLS)}", file=sys.stderr, flush=True)


def plain(text: str) -> str:
    """Text from a file or the net on one line, without what controls a terminal."""
    return " ".join(text.translate(_CONTROLS).split())


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
        _terminal().out(text.translate(_CONTROLS), style=_dimmed(), end="", highlight=False)
    else:
        print(text, end="", file=sys.stderr, flush=True)


def unexpected(error: Exception) -> str:
    """What to say of an error that nobody foresaw, or that MLX does not tell in one line."""
    if str(error).startswith(_NO_KERNEL):
        import tempfile  # as much to load as all else here

        why = str(error).strip().rpartition(": ")[2]
        return (
            f"MLX could not build or load a kernel with g++ ({why}): remove "
            f"{Path(tempfile.gettempdir(), 'mlx')} and see that there is room, or set "
            "MLX_DISABLE_COMPILE=1 to do without"
        )
    return (
        f"unexpected {type(error).__name__}: {error} "
        f"(this is a bug; {TRACEBACK_VARIABLE}=1 shows where)"
    )


def end_line() -> None:
    """Leave the line of a prompt that nobody has answered."""
    if sys.stderr.isatty():
        _screen.make_room()
        print(file=sys.stderr, flush=True)


def remark(message: str) -> None:
    """A line of the program within a conversation: dimmed on a terminal, else a notice."""
    if sys.stderr.isatty():
        aside(message)
    else:
        notice(message)


def aside(line: str) -> None:
    """A dimmed line that only somebody at a terminal wants to see."""
    if sys.stderr.isatty():
        _screen.make_room()
        think(line + "\n")


def status(message: str, done: float = 0, total: float | None = None) -> None:
    """What is going on, on one line that the next output replaces; on a terminal only.

    The bar beside it shows ``done`` of ``total``, or only that work goes on.
    """
    statuses([(message, done, total)])


def statuses(lines: Iterable[tuple[str, float, float | None]]) -> None:
    """Several of them, one below the other: message, done, total."""
    if not sys.stderr.isatty() or _screen.text:
        return
    lines, progress = list(lines), _screen.status
    if progress is None or [task.total is None for task in progress.tasks] != [
        total is None for _, _, total in lines
    ]:
        _screen.make_room()
        progress = _screen.status = _progress()
        for message, done, total in lines:
            progress.add_task(message.translate(_CONTROLS), total=total, completed=round(done))
        progress.start()
        return
    for task, (message, done, total) in zip(progress.task_ids, lines, strict=True):
        line = message.translate(_CONTROLS)
        progress.update(task, description=line, total=total, completed=round(done))


def clear_status() -> None:
    """Take the status away."""
    _screen.make_room(for_text=True)


def prefill_status(done: int, total: int) -> None:
    """How far a long prompt has been read."""
    if done < total:
        status(f"reading the prompt: {done:,} of {total:,} tokens", done, total)


def _dimmed() -> str:
    return "none" if os.environ.get("NO_COLOR") else "dim"


@cache
def _terminal() -> "Console":
    from rich.console import Console

    return Console(stderr=True)


def _progress() -> "Progress":
    from rich.console import RenderableType
    from rich.constrain import Constrain
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

    class Narrower(Progress):
        """Leaves room for the ^C that a terminal writes: from a full line it would begin another,
        and what stands above that is not erased."""

        def get_renderables(self) -> Iterable[RenderableType]:
            yield Constrain(self.make_tasks_table(self.tasks), max(1, _terminal().width - 3))

    return Narrower(
        SpinnerColumn(),
        TextColumn("{task.description}", style=_dimmed(), markup=False),
        BarColumn(bar_width=20 if _terminal().width >= _WIDE else 10),
        console=_terminal(),
        transient=True,
        redirect_stdout=False,  # a reply goes to stdout untouched
        redirect_stderr=False,
    )
