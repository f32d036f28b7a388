"""Running a tool so that nothing it does can hold the chat up or write into it.

It runs in a daemon thread: one that does not come back is left behind, after a time or at Ctrl-C,
and does not keep the process from ending (``leave``). In that thread stdout and stderr are a page
of their own and stdin is empty, as long as the thread lives: a tool left behind neither writes
between the lines of a reply nor takes what the user types. What it starts itself (threads,
programs) is not watched, and a tool that never lets go of Python's lock holds all up.
"""

import atexit
import contextlib
import io
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_own = threading.local()  # the streams of a tool's thread, by name
_STREAMS = ("stdin", "stdout", "stderr")
_SLICE = 0.1  # seconds
_ran = threading.Event()  # whether any tool has
_left: list[threading.Thread] = []


@dataclass
class Apart(Generic[T]):
    """How work in a thread went: ``done`` holds its result, and is empty when it did not end.

    ``printed`` is the beginning of what it wrote to stdout and stderr, ``unseen`` the number of
    bytes that were written after that.
    """

    done: list[T]
    printed: str
    unseen: int


def run_apart(work: Callable[[], T], name: str, timeout: float, keep: int) -> Apart[T]:
    """Run ``work`` for at most ``timeout`` seconds, keeping ``keep`` bytes of what it prints.

    An exception of the work is raised here. So is KeyboardInterrupt, at Ctrl-C; the thread is left
    behind then as it is after the timeout.
    """
    _ran.set()
    page = _Page(keep)
    done: list[T] = []
    raised: list[BaseException] = []
    ended = threading.Event()

    def run() -> None:
        out = io.TextIOWrapper(page, "utf-8", "backslashreplace", write_through=True)
        _own.stdin, _own.stdout, _own.stderr = io.StringIO(), out, out
        try:
            done.append(work())
        except BaseException as error:  # handed to whoever waits
            raised.append(error)
        finally:
            ended.set()

    thread = threading.Thread(target=run, name=name, daemon=True)
    with _divided():
        try:
            thread.start()
            deadline = time.monotonic() + timeout
            # In slices, for a signal that another thread received ends no wait of this one.
            while not ended.wait(min(_SLICE, max(deadline - time.monotonic(), 0))):
                if time.monotonic() >= deadline:
                    break
        finally:
            if not ended.is_set():
                _left.append(thread)
    if raised:
        raise raised[0]
    return Apart(done[:], page.text(), page.unseen)


def left_behind() -> list[str]:
    """Names of the tools that were given up and still run."""
    _left[:] = [thread for thread in _left if thread.is_alive()]
    return [thread.name for thread in _left]


def leave(status: int) -> int:
    """``status``, for whoever ends the process; with threads of tools about, it ends here and now.

    At its end Python waits for threads that a tool may have started (those of a ThreadPoolExecutor
    even from a daemon), and one of them may hang.
    """
    if _ran.is_set() and threading.active_count() > 1:
        atexit._run_exitfuncs()
        with contextlib.suppress(OSError, ValueError):  # the reader has gone, or it is closed
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)
    return status


class _Page(io.BufferedIOBase):
    """Takes all that is written, keeps the beginning."""

    name = "<a tool's output>"

    def __init__(self, keep: int):
        self._kept, self._keep, self.unseen = bytearray(), keep, 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        written = memoryview(data).cast("B")
        kept = written[: self._keep - len(self._kept)]
        self._kept += kept
        self.unseen += len(written) - len(kept)
        return len(written)

    def text(self) -> str:
        return self._kept.decode("utf-8", "replace")


class _Divided:
    """A standard stream, behind which each tool's thread finds its own."""

    def __init__(self, stream: Any, name: str):
        self.stream, self.name = stream, name

    def _here(self) -> Any:
        return getattr(_own, self.name, self.stream)

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._here(), attribute)

    def __iter__(self) -> Iterator[str]:
        return iter(self._here())


@contextlib.contextmanager
def _divided() -> Iterator[None]:
    """Divide the standard streams; they are put back unless a tool left behind needs them so."""
    for name in _STREAMS:
        if not isinstance(getattr(sys, name), _Divided):
            setattr(sys, name, _Divided(getattr(sys, name), name))
    try:
        yield
    finally:
        for name in _STREAMS:
            stream = getattr(sys, name)
            if isinstance(stream, _Divided) and not left_behind():
                setattr(sys, name, stream.stream)
