"""``gemma4 list``: the models that are on this machine already."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from gemma4_cli.console import complain, notice, say
from gemma4_cli.models import DEMO, which_model
from gemma4_cli.units import size
from gemma4_mlx.errors import InputError

if TYPE_CHECKING:
    from gemma4_mlx.hub import CachedModel


def list_models(
    show_all: Annotated[
        bool, typer.Option("--all", "-a", help="Models that are not Gemma 4 too.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """List the models in the hub's cache; a star marks the one that runs when none is named.

    Conversions in other folders are not looked for.
    """
    from gemma4_mlx.hub import cache_folder, cached_models, hub_name

    try:
        default = which_model(None).name
    except InputError as error:  # damaged settings say nothing about what is in the cache
        complain(str(error))
        default = DEMO
    found = cached_models()
    models = [model for model in found if show_all or model.is_gemma4]
    if as_json:
        document = {
            "cache": str(cache_folder()),
            "default": default,
            "models": [_as_json(model, hub_name(default)) for model in models],
        }
        say(json.dumps(document, ensure_ascii=False, indent=2), end="\n")
        return

    rows = [_row(model, hub_name(default)) for model in models]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        say("  ".join(cells).rstrip(), end="\n")
    if not models:
        others = f" ({len(found)} of another kind: --all)" if found else ""
        notice(f"no Gemma 4 in {cache_folder()}{others}: `gemma4 pull e2b` fetches one")
    if hub_name(default) not in {model.hub_id for model in models}:
        notice(f"the model that runs when none is named: {default}")


def _row(model: "CachedModel", default: str | None) -> tuple[str, ...]:
    from gemma4_mlx.hub import ALIASES

    alias = next((f" ({alias})" for alias, name in ALIASES.items() if name == model.hub_id), "")
    kind = model.kind or ("Gemma 4" if model.is_gemma4 else "")
    return (
        ("* " if model.hub_id == default else "  ") + model.hub_id + alias,
        kind,
        model.weights or "",
        size(model.size).rjust(len("999.9 GB")),
        " ".join(_remarks(model)),
    )


def _remarks(model: "CachedModel") -> list[str]:
    if not model.is_gemma4:
        return []
    if not model.is_runnable:
        return ["not supported"]
    return [] if model.is_complete else [f"incomplete: gemma4 pull {model.hub_id}"]


def _as_json(model: "CachedModel", default: str | None) -> dict[str, object]:
    return {
        "hub_id": model.hub_id,
        "gemma4": model.is_gemma4,
        "kind": model.kind,
        "weights": model.weights,
        "bytes": model.size,
        "complete": model.is_complete,
        "supported": model.is_runnable,
        "path": None if model.snapshot is None else str(model.snapshot),
        "default": model.hub_id == default,
    }
