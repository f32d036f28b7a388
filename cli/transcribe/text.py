"""The text of a recording while it grows."""

import sys

from gemma4_cli.console import aside, say
from gemma4_mlx.speech.transcript import join_texts


class RunningText:
    """On stdout: one line in a file or pipe, on a terminal a line for each segment, to be read.

    Ends with a newline in any case.
    """

    def __init__(self) -> None:
        self._lines = sys.stdout.isatty()
        self._last = ""  # what was written last, which decides whether a space follows

    def add(self, text: str) -> None:
        """A further segment; one without text adds nothing."""
        if not text:
            return
        if self._lines:
            say(text, end="\n")
        else:
            say(join_texts([self._last, text])[len(self._last) :])
        self._last = text

    def end(self) -> None:
        """Nothing follows."""
        if not (self._lines and self._last):
            say("\n")


class PassingText:
    """What is written elsewhere when it is whole: on a terminal it is seen beforehand, dimmed."""

    def add(self, text: str) -> None:
        """A further segment."""
        if text:
            aside(text)

    def end(self) -> None:
        """Nothing follows."""
