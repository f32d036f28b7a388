"""A text changed in the user's own editor, as git does with commit messages."""

import os
import shlex
import subprocess
import tempfile
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
