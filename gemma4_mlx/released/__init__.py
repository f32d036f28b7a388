"""The config.json of each released model, as Google published it.

With it the size of a model that is not on this machine can be told offline, by ``gemma4 info e2b``
for one. Nothing that runs a model reads these files: a checkpoint brings its own.
"""

from importlib.resources import files
from pathlib import Path
from typing import Any

from gemma4_mlx.errors import CheckpointError
from gemma4_mlx.json_files import read_json

RELEASED = ("e2b", "e4b", "26b", "31b")


def released_config(name: str) -> dict[str, Any]:
    """The parsed config.json of a released model, named by its alias as in ``RELEASED``.

    Raises CheckpointError for another name, or when the installed package lacks the file.
    """
    if name not in RELEASED:
        raise CheckpointError(
            f"there is no released config {name!r}: name one of {', '.join(RELEASED)}"
        )
    file = Path(str(files(__name__))) / f"{name}.json"
    if not file.is_file():
        raise CheckpointError(
            f"{file} is missing: this installation is incomplete; install gemma4-mlx again"
        )
    return read_json(file)
