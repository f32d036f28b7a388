"""What is piped into a command: the whole prompt, or a part of it beside the argument."""

import os
import select
import stat
import sys

from gemma4_cli.console import notice
from gemma4_mlx.errors import InputError

# A pipe that nobody writes to is a script's own input, handed on, as often as a slow program.
_PATIENCE = 10.0  # seconds until its first byte


def read_stdin() -> str:
    """All of stdin, to its end; nothing where there is none. InputError when it is not text."""
    if sys.stdin is None:
        return ""
    try:
        text = sys.stdin.read().strip()
        text.encode("utf-8")  # in some locales Python lets bytes through as halves of characters
    except UnicodeError:
        raise InputError(
            "what is piped in is not UTF-8: give text there, and media with --image, --audio or "
            "--video"
        ) from None
    return text


def beside(prompt: str) -> str:
    """The prompt and, after an empty line, what is piped in, if anything is."""
    piped = read_stdin() if _is_piped() else ""
    return "\n\n".join(part for part in (prompt, piped) if part)


def _is_piped() -> bool:
    """Whether stdin is a file or a pipe in which something comes."""
    try:
        descriptor = sys.stdin.fileno()
        mode = os.fstat(descriptor).st_mode
    except (OSError, ValueError, AttributeError):  # closed, or not a file of the system
        return False
    if stat.S_ISREG(mode):
        return True
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        return False
    ready, _, _ = select.select([descriptor], [], [], _PATIENCE)
    if not ready:
        notice(
            f"nothing came on stdin for {_PATIENCE:.0f} s, so the prompt alone is answered: "
            "give the prompt - to wait for what is piped in"
        )
    return bool(ready)
