"""``gemma4 rm MODEL``: free the room that a downloaded model takes."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from gemma4_cli.console import complain, notice
from gemma4_cli.models import DEMO
from gemma4_cli.settings import chosen_model
from gemma4_cli.units import size
from gemma4_mlx.errors import InputError


def rm(
    model: Annotated[str, typer.Argument(help="A hub id, or e2b, e4b, 26b, 31b.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove a model from the hub's cache, after asking."""
    from gemma4_mlx.hub import cached_model, cached_models, hub_name, remove

    if model == DEMO:
        raise InputError("the demo model is part of the package: uninstall that to be rid of it")
    hub_id = hub_name(model)
    found = cached_model(hub_id) if hub_id else None
    if found is None:
        if Path(model).is_dir():
            raise InputError(
                f"{model} is a folder, not a model of the hub's cache: it is yours to delete"
            )
        there = ", ".join(other.hub_id for other in cached_models()) or "nothing"
        raise InputError(f"{hub_id or model} is not in the hub's cache; there: {there}")

    if not yes:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise typer.BadParameter(
                "without a terminal to ask at, it must be given", param_hint="'--yes'"
            )
        if not _agreed(f"Remove {found.hub_id} ({size(found.size)})? [y/N] "):
            notice("nothing was removed")
            raise typer.Exit(1)
    freed = remove(found)
    notice(f"{found.hub_id} is removed: {size(freed)} are free again")
    try:
        was_chosen = chosen_model() == found.hub_id
    except InputError as error:
        complain(str(error))
        return
    if was_chosen:
        notice("it was the model chosen with `gemma4 use`: choose another, or `gemma4 use --clear`")


def _agreed(question: str) -> bool:
    print(question, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
