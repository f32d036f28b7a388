"""Files that hold private talk: their owner alone may read them, and they are whole or not there.

A file is written under a temporary name in its folder, made sure to be on the disk and renamed, so
that a program killed in the middle, or a power cut, leaves the old file as it was.
"""

import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

_TEMPORARY = re.compile(r"\..+\.[a-z0-9_]{8}")
_ABANDONED = 3600  # seconds after which nobody is writing a file any more


def private_folder(folder: Path) -> None:
    """Make a folder that its owner alone can enter, or make the one that is there such."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)


def write_private(target: Path, write: Callable[[BinaryIO], object]) -> None:
    """Give ``write`` a file to fill; it takes the place of ``target`` when it is whole.

    The folder must be there. Raises OSError, and whatever ``write`` does.
    """
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")  # mode 600
    try:
        with open(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


def leftovers(folder: Path) -> Iterator[Path]:
    """Temporary files of programs that were killed while they wrote. Raises OSError."""
    limit = time.time() - _ABANDONED
    for file in list(folder.iterdir()):
        if _TEMPORARY.fullmatch(file.name) and file.is_file() and file.stat().st_mtime < limit:
            yield file
