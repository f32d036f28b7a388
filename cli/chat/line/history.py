"""The lines typed in earlier conversations, in a file that its owner alone can read.

It has prompt_toolkit's own format. A history that cannot be read or written is told once and then
lives in memory: the conversation goes on.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from prompt_toolkit.history import FileHistory


class PrivateHistory(FileHistory):
    """``trouble`` is what prevents keeping lines in the file, None while nothing does.

    It is not printed from here, where the terminal is drawn.
    """

    def __init__(self, file: Path):
        super().__init__(str(file))
        self.file = file
        self.trouble: str | None = None

    def load_history_strings(self) -> Iterable[str]:
        try:
            return list(super().load_history_strings())
        except OSError as error:
            self._note(error)
            return []

    def store_string(self, string: str) -> None:
        if self.trouble is not None:
            return
        try:
            self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(self.file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                os.fchmod(handle, 0o600)  # it may have been there
            finally:
                os.close(handle)
            # Half a character, of a file name that is not UTF-8, has no bytes of its own.
            super().store_string(string.encode("utf-8", "replace").decode())
        except OSError as error:
            self._note(error)

    def _note(self, error: OSError) -> None:
        self.trouble = (
            f"{self.file} cannot be used ({error.strerror}): what you type is not kept for the "
            "next conversation"
        )
