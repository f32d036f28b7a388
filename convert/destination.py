"""What a conversion may do to its destination: appear there whole, or replace a checkpoint.

Nothing is written over unless that is asked for, and then only another checkpoint, never the
source, and not before the new one is whole.
"""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from gemma4_convert.partial import Partial, folder_of, sync_directory
from gemma4_mlx.errors import CheckpointError, InputError
from gemma4_mlx.json_files import read_json


def refuse_source(dest: Path, source: Path, files: Iterable[Path]) -> None:
    """InputError when a file of the source would be replaced or swept away with ``dest``."""
    for needed in (source, *files):
        place = Path(os.path.realpath(needed))
        for doomed in (dest, folder_of(dest)):
            # Asked of the file system: names that differ in case may be one.
            if doomed.exists() and any(map(doomed.samefile, (place, *place.parents))):
                raise InputError(f"{dest} holds the source ({needed}): choose another destination")


def refuse_existing(dest: Path, force: bool) -> None:
    """InputError when ``dest`` exists and is not to be, or not safely, replaced."""
    if not os.path.lexists(dest):
        return
    if not force:
        raise InputError(
            f"{dest} exists: choose another destination, remove it, or ask to replace it (force)"
        )
    if dest.is_dir() and not any(dest.iterdir()):
        return
    reason = _not_a_checkpoint(dest)
    if reason is not None:
        raise InputError(
            f"{dest} is not replaced, because {reason}: only a checkpoint is; remove it yourself "
            "or choose another destination"
        )


def _not_a_checkpoint(dest: Path) -> str | None:
    """Why a directory is no checkpoint, or more than one."""
    if not dest.is_dir():
        return "it is no directory"
    try:
        model_type = read_json(dest / "config.json").get("model_type")
    except CheckpointError:
        return "it has no config.json of a model"
    if not isinstance(model_type, str) or not any(dest.glob("*.safetensors")):
        return "it holds no model"
    # The hub's client leaves .cache; anything deeper is somebody's own.
    folders = [entry.name for entry in dest.iterdir() if entry.is_dir() and entry.name != ".cache"]
    return f"it holds the folder {folders[0]}" if folders else None


def refuse_full_disk(partial: Partial, dest: Path, needed: int) -> None:
    """InputError when the disk has no room for the ``needed`` bytes still to be written."""
    free = shutil.disk_usage(partial.folder).free + partial.stale_bytes()
    if needed > free:
        raise InputError(
            f"{dest} needs {size(needed)} more and {dest.parent} has {size(free)} free: "
            "free some space, or choose another disk or fewer bits"
        )


def publish(partial: Partial, dest: Path) -> None:
    """The whole conversion takes its place by a rename; what it replaces is deleted after."""
    sync_directory(partial.model)
    if os.path.lexists(dest):
        dest.rename(partial.replaced)
    try:
        partial.model.rename(dest)
    except OSError:
        settle(partial, dest)
        raise
    sync_directory(dest.parent)
    settle(partial, dest)


def settle(partial: Partial, dest: Path) -> None:
    """After an exchange that was interrupted: one of the two stays, the new one if it is there."""
    if not os.path.lexists(partial.replaced):
        return
    if os.path.lexists(dest):
        shutil.rmtree(partial.replaced)
    else:
        partial.replaced.rename(dest)
        sync_directory(dest.parent)


def size(nbytes: int) -> str:
    """Bytes as a person reads them: ``4.7 GB``, ``310 MB``."""
    if nbytes >= 999_500_000:
        return f"{nbytes / 1e9:.1f} GB"
    return f"{nbytes / 1e6:.1f} MB" if nbytes < 99_500_000 else f"{nbytes / 1e6:.0f} MB"
