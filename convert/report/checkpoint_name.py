"""What to call a checkpoint that is a directory: its hub id where one can tell."""

import re
from pathlib import Path

from gemma4_mlx.hub import ALIASES

_CACHED = re.compile(r"models--([\w.-]+?)--([\w.-]+)")


def hub_id(path: Path) -> str | None:
    """The hub id of a checkpoint in the hub's cache, or of a directory named as a release is."""
    for part in reversed(path.absolute().parts):
        if found := _CACHED.fullmatch(part):
            return f"{found[1]}/{found[2]}"
    released = {name.rpartition("/")[2].lower(): name for name in ALIASES.values()}
    return released.get(path.absolute().name.lower())


def checkpoint_name(path: Path) -> str:
    """A name for people: the hub id, or the name of the directory."""
    return hub_id(path) or path.absolute().name
