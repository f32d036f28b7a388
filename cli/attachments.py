"""Media given by path, as the parts of a message. Gemma 4 wants them before the text."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gemma4_mlx.errors import MediaError

Part = dict[str, Any]


def attach(kind: str, path: Path) -> Part:
    """The part for one file; MediaError at once when there is none, before a model is loaded."""
    path = path.expanduser()
    if not path.exists():
        raise MediaError(f"{path} does not exist: check the path of the {kind} file")
    if not path.is_file():
        raise MediaError(f"{path} is not a file, expected a {kind} file")
    return {"type": kind, kind: str(path)}


def attach_all(given: Sequence[tuple[str, Path]]) -> list[Part]:
    """The parts for all media of the command line, in their order."""
    return [attach(kind, path) for kind, path in given]


def kinds(parts: Sequence[Part]) -> set[str]:
    """What the model has to look at or listen to."""
    return {part["type"] for part in parts}


def content(parts: Sequence[Part], text: str) -> str | list[Part]:
    """A message's content: the text alone, or the media and then the text."""
    if not parts:
        return text
    return [*parts, {"type": "text", "text": text}] if text else list(parts)
