"""Where conversations are kept unasked: ``$XDG_STATE_HOME/gemma4/sessions``, the newest 50.

By default that is ``~/.local/state/gemma4/sessions``. Each chat has a file named after the time it
began; ``--continue`` takes up the one that was written last.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from gemma4_cli.chat.sessions.private_files import leftovers
from gemma4_cli.chat.sessions.saved_media import SUFFIX, media_folder, remove_media
from gemma4_cli.settings import state_folder

KEPT = 50

_NAME = "%Y-%m-%d-%H%M%S-%f"
_OURS = re.compile(r"\d{4}-\d\d-\d\d-\d{6}-\d{6}\.json")


def session_folder() -> Path:
    """Where the sessions are, whether or not there are any."""
    return state_folder() / "sessions"


def session_file() -> Path:
    """A file for a chat that begins now; the oldest sessions go, so that 50 are kept with it.

    Nothing is there yet: a chat in which nothing is said leaves nothing behind.
    """
    folder = session_folder()
    with suppress(OSError):  # what cannot be taken away now is tried at the next chat
        for file in sorted(_sessions(folder), key=_written, reverse=True)[KEPT - 1 :]:
            remove(file)
        for file in leftovers(folder):
            file.unlink(missing_ok=True)
    return folder / f"{datetime.now().strftime(_NAME)}.json"


def remove(file: Path) -> None:
    """Take a session away, if it is there."""
    file.unlink(missing_ok=True)
    remove_media(media_folder(file))


def last_session() -> Path | None:
    """The session that was written last; None when there is none."""
    try:
        files = [file for file in _sessions(session_folder()) if file.is_file()]
    except OSError:  # a folder that is not there, or not for us
        return None
    return max(files, key=_written, default=None)


def _sessions(folder: Path) -> Iterator[Path]:
    """Every session; one that a program was killed before writing may have left media only."""
    names = {entry.name.removesuffix(SUFFIX) for entry in folder.iterdir()}
    yield from (folder / name for name in names if _OURS.fullmatch(name))


def _written(file: Path) -> tuple[int, str]:
    """When a session was written, in nanoseconds; of two at once the later begun is newer."""
    for entry in (file, media_folder(file)):
        with suppress(FileNotFoundError):
            return entry.stat().st_mtime_ns, file.name
    return 0, file.name
