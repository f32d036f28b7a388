"""Reading a checkpoint's JSON files, with errors that name the file or the key."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gemma4_mlx.errors import CheckpointError

_REQUIRED = object()


def read_json(file: Path) -> dict[str, Any]:
    """Parse a JSON object; CheckpointError names the file when it cannot be."""
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(
            f"{file} is missing: {file.parent} is not a complete checkpoint; download it again"
        ) from None
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{file} cannot be read as JSON ({error}); download it again"
        ) from None
    if not isinstance(raw, dict):
        raise CheckpointError(f"{file} holds a JSON {type(raw).__name__}, expected an object")
    return raw


class Section:
    """Looks keys up in one section of the config; a required one that is absent is an error."""

    def __init__(self, raw: Mapping[str, Any], name: str):
        if not isinstance(raw, Mapping):
            raise CheckpointError(f"config.json: {name} is {raw!r}, expected an object")
        self.raw, self.name = raw, name

    def __call__(self, key: str, default: Any = _REQUIRED) -> Any:
        value = self.raw.get(key)
        if value is not None:
            return value
        if default is _REQUIRED:
            raise CheckpointError(
                f"config.json: {self.name} has no {key!r}; "
                "use the config.json that came with the weights"
            )
        return default

    def expect(self, key: str, only: object) -> None:
        """CheckpointError unless the value is absent or the one that every Gemma 4 model has."""
        value = self.raw.get(key)
        if value is not None and value != only:
            raise CheckpointError(
                f"config.json: {key} is {value!r}, but every Gemma 4 model has {only!r}"
            )
