"""Questions with few answers, asked in the middle of a conversation."""

import sys
import termios
from collections.abc import Mapping
from typing import Literal

from gemma4_cli.console import clear_status


def choose(question: str, answers: Mapping[str, str], otherwise: str) -> str:
    """The key of the answer: its first letter is enough, and Enter alone is ``otherwise``.

    The end of the input counts as ``otherwise``; Ctrl-C raises KeyboardInterrupt.
    """
    shown = ", ".join(
        f"[{key[0]}]{key[1:]}" + (f" ({meaning})" if meaning else "")
        for key, meaning in answers.items()
    )
    clear_status()
    while True:
        _forget_typed()
        print(f"{question} {shown}: ", end="", file=sys.stderr, flush=True)
        try:
            given = input().strip().lower()
        except EOFError:
            return otherwise
        if not given:
            return otherwise
        found = [key for key in answers if key.startswith(given)]
        if len(found) == 1:
            return found[0]


def _forget_typed() -> None:
    """What was typed before a question is no answer to it."""
    try:
        termios.tcflush(sys.stdin, termios.TCIFLUSH)
    except (termios.error, OSError, ValueError):
        return  # not a terminal of the system


def ask_before_running(question: str) -> bool | Literal["always"]:
    """Whether a tool may run."""
    answer = choose(
        question,
        {"yes": "", "no": "", "always": "this tool, from now on"},
        otherwise="no",
    )
    return "always" if answer == "always" else answer == "yes"
