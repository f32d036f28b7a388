"""Writing results: whole or not at all, and never over something without being told to."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from gemma4_mlx.errors import InputError


def plan_outputs(files: Sequence[Path], folder: Path, suffix: str) -> dict[Path, Path]:
    """Where the result for each file goes: ``folder`` / its name with another suffix.

    Raises InputError when two would have the same name.
    """
    targets: dict[Path, Path] = {}
    for file in files:
        target = folder / f"{file.stem}{suffix}"
        for other, taken in targets.items():
            if taken == target and other != file:
                raise InputError(
                    f"{other} and {file} would both be written to {target}: rename one of them, "
                    "or write them into different folders"
                )
        targets[file] = target
    return targets


def refuse_to_overwrite(target: Path, force: bool) -> None:
    """InputError when ``target`` exists and ``--force`` was not given."""
    if target.exists() and not force:
        raise InputError(f"{target} exists already: --force writes over it")


def write_whole(target: Path, text: str) -> None:
    """Write under a temporary name in the same folder, then rename."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=".gemma4-")
    try:
        with open(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp made it private
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
