"""Nothing comes between while a reply is drawn: no echo of keys, no Ctrl-C amid a frame."""

import atexit
import os
import signal
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interrupt_held() -> Iterator[None]:
    """Ctrl-C within takes effect at the end."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    held: list[tuple[int, FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda number, frame: held.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if held:
        before(*held[0])


def echo_off() -> Callable[[], None]:
    """Stop showing keys where the cursor stands; call what is returned to show them again.

    What is typed meanwhile is read later, as it would be with the echo.
    """
    if not sys.stdin.isatty():
        return _nothing
    keyboard = sys.stdin.fileno()
    try:
        if os.tcgetpgrp(keyboard) != os.getpgrp():
            return _nothing  # in the background the terminal is not ours to change
    except OSError:
        return _nothing  # it does not control this process, so it cannot interrupt it either
    if not termios.tcgetattr(keyboard)[3] & termios.ECHO:
        return _nothing
    _set_echo(keyboard, False)

    def restore() -> None:
        atexit.unregister(restore)
        _set_echo(keyboard, True)

    atexit.register(restore)
    return restore


def _set_echo(keyboard: int, shown: bool) -> None:
    attributes = termios.tcgetattr(keyboard)
    attributes[3] = attributes[3] | termios.ECHO if shown else attributes[3] & ~termios.ECHO
    termios.tcsetattr(keyboard, termios.TCSANOW, attributes)


def _nothing() -> None:
    """There was no echo to stop."""
