"""Media given by path, as the parts of a message. Gemma 4 wants them before the text."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from gemma4_cli.console import notices
from gemma4_mlx.errors import MediaError

Part = dict[str, Any]


def attach(kind: str, source: str) -> Part:
    """The part for one file or link; MediaError at once for a file that is not there.

    That is before a model is loaded, which is also when links are not fetched yet.
    """
    if source.lower().startswith(("http://", "https://")):
        return {"type": kind, kind: source}
    try:
        path = Path(source).expanduser()
    except RuntimeError as error:  # of a user unknown here
        raise MediaError(f"{source} cannot be found: {error}") from None
    if not path.exists():
        raise MediaError(f"{path} does not exist: check the path of the {kind} file")
    if not path.is_file():
        raise MediaError(f"{path} is not a file, expected a {kind} file")
    return {"type": kind, kind: str(path)}


def check_budget(tokens: int | None) -> None:
    """Wrong usage for a number of tokens that no picture can have."""
    if tokens is None:
        return
    from gemma4_mlx.processing.settings import SOFT_TOKEN_BUDGETS

    if tokens not in SOFT_TOKEN_BUDGETS:
        allowed = ", ".join(map(str, SOFT_TOKEN_BUDGETS))
        raise typer.BadParameter(f"{tokens} is not one of {allowed}", param_hint="'--image-tokens'")


def attach_all(given: Sequence[tuple[str, str]]) -> list[Part]:
    """The parts for all media of the command line, in their order."""
    return [attach(kind, source) for kind, source in given]


def fetched(parts: Sequence[Part]) -> list[Part]:
    """The parts with pictures in the place of links. MediaError for one that cannot be had."""
    return [_fetched(part) for part in parts]


def _fetched(part: Part) -> Part:
    from gemma4_cli.chat.media.links import fetch_image, is_link

    source = part[part["type"]]
    if not is_link(source):
        return part
    if part["type"] != "image":
        raise MediaError(f"{source} is a link, and only pictures are fetched: give a file")
    said: list[str] = []
    picture = fetch_image(source, said)
    notices(said, source)
    return {"type": "image", "image": picture}


def kinds(parts: Sequence[Part]) -> set[str]:
    """What the model has to look at or listen to."""
    return {part["type"] for part in parts}


def content(parts: Sequence[Part], text: str) -> str | list[Part]:
    """A message's content: the text alone, or the media and then the text."""
    if not parts:
        return text
    return [*parts, {"type": "text", "text": text}] if text else list(parts)
