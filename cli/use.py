"""``gemma4 use NAME``: which model runs when none is named."""

import os
from pathlib import Path
from typing import Annotated

import typer

from gemma4_cli.console import notice, say
from gemma4_cli.models import DEMO, VARIABLE, Choice, which_model
from gemma4_cli.settings import choose_for_good, clear_choice
from gemma4_mlx.errors import HubError, InputError


def use(
    model: Annotated[
        str | None,
        typer.Argument(help="A directory, a hub id, e2b, e4b, 26b, 31b, or demo.", metavar="NAME"),
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Back to the built-in demo.")] = False,
) -> None:
    """Choose the model that runs when none is named; without NAME, show which one that is."""
    if clear and model is not None:
        raise typer.BadParameter("it goes without a NAME", param_hint="'--clear'")
    if clear:
        was_there = clear_choice()
        notice("the demo is the default again" if was_there else "nothing had been chosen")
    elif model is not None:
        choose_for_good(_checked(model))
    choice = which_model(None)
    if (clear or model is not None) and isinstance(choice.origin, str):
        notice(f"${VARIABLE} is set to {os.environ[VARIABLE]} and goes before what is chosen here")
    say(_told(choice), end="\n")


def _told(choice: Choice) -> str:
    if choice.origin is None:
        return f"{choice.name} (built in; nothing else is chosen)"
    return f"{choice.name} ({choice.origin})"


def _checked(name: str) -> str:
    """What to write down for a name; an error unless it leads to a model that is there."""
    from gemma4_mlx.config import Gemma4Config
    from gemma4_mlx.hub import ALIASES, cached_model, hub_name

    if name == DEMO:
        return name
    folder = Path(name).expanduser()
    if folder.is_dir():
        Gemma4Config.from_dir(folder)  # refuses what is no Gemma 4
        return str(folder.resolve())
    hub_id = hub_name(name)
    if hub_id is None:
        raise InputError(
            f"there is no model {name!r}: name a directory that exists, a hub id like "
            f"{ALIASES['e2b']}, one of {', '.join(ALIASES)}, or demo"
        )
    model = cached_model(hub_id)
    if model is None or not model.is_complete:
        lacking = "not in the hub's cache" if model is None else "not wholly in the hub's cache"
        raise HubError(f"{hub_id} is {lacking}: download it first, with `gemma4 pull {name}`")
    if model.snapshot is not None:
        Gemma4Config.from_dir(model.snapshot)
    return hub_id
