"""Entry point of ``gemma4`` and ``python -m gemma4_cli``: runs a command, gives its exit status.

0 done; 1 an error, told in one line; 2 wrong usage; 130 stopped with Ctrl-C; 141 the reader of our
output has gone (as a program killed by SIGPIPE reports), which needs no words.
"""

import os
import sys
from collections.abc import Sequence

from gemma4_cli.app import app
from gemma4_cli.console import (
    TRACEBACK_VARIABLE,
    ReaderGone,
    clear_status,
    complain,
    unexpected,
)
from gemma4_mlx.errors import Gemma4Error


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line with ``arguments`` (None: those of the process, which then ends)."""
    if arguments is None:
        _open_standard_streams()
    status = _status(arguments)
    threads = sys.modules.get("gemma4_cli.tools.thread")
    return threads.leave(status) if threads and arguments is None else status


def _status(arguments: Sequence[str] | None) -> int:
    try:
        status = _run(arguments)
        sys.stdout.flush()
        return status
    except (ReaderGone, BrokenPipeError):
        # What is still buffered would raise again when Python closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if os.environ.get(TRACEBACK_VARIABLE):
            raise
        if isinstance(error, Gemma4Error):
            complain(str(error))
        elif isinstance(error, OSError) and error.strerror:
            where = f"{error.filename}: " if error.filename else ""
            complain(f"{where}{error.strerror}")
        else:
            complain(unexpected(error))
        return 1
    finally:
        clear_status()  # it hides the cursor


def _open_standard_streams() -> None:
    """A file opened where one of them was closed would be taken for it."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest that is free


def _run(arguments: Sequence[str] | None) -> int:
    """Typer ends every command with SystemExit, usage errors (2) and Ctrl-C (130) included."""
    try:
        app(args=None if arguments is None else list(arguments), prog_name="gemma4")
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    return 0


if __name__ == "__main__":
    sys.exit(main())
