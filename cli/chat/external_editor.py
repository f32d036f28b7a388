"""A text changed in the user's own editor, as git does with commit messages."""

import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gemma4_mlx.errors import InputError


def edited(text: str) -> str:
    """What the user made of the text in $VISUAL, $EDITOR or vi. InputError when that fails."""
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    with tempfile.TemporaryDirectory(prefix="gemma4-") as folder:
        file = Path(folder) / "message.md"
        file.write_text(text, encoding="utf-8")
        try:
            command = [*shlex.split(editor), str(file)]
            with _interrupts_left_to_it():
                status = subprocess.run(command).returncode
        except (OSError, ValueError) as error:
            raise InputError(
                f"the editor {editor!r:.60} does not start ({error}): set $EDITOR to one that is "
                "there"
            ) from None
        if status:
            raise InputError(f"{editor!r:.60} ended with status {status}: nothing was changed")
        try:
            return file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"what {editor!r:.60} wrote cannot be read: {error}") from None


@contextmanager
def _interrupts_left_to_it() -> Iterator[None]:
    """Ctrl-C is a key of the editor: here it would end it, and what was written be lost.

    A handler, for an editor would inherit that the signal is ignored.
    """
    before = signal.signal(signal.SIGINT, lambda _number, _frame: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
