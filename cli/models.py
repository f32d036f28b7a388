"""Which model runs: the one named, else ``$GEMMA4_MODEL``, else the one chosen for good.

The last resort is the demo, and then that is said.
"""

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gemma4_cli import options
from gemma4_cli.console import clear_status, notice, status
from gemma4_cli.settings import chosen_model, settings_file
from gemma4_cli.units import size
from gemma4_mlx.errors import CheckpointError, HubError

if TYPE_CHECKING:
    from gemma4_mlx.model import Gemma4Model
    from gemma4_mlx.processing.processor import Processor

VARIABLE = "GEMMA4_MODEL"
DEMO = "demo"


@dataclass(frozen=True)
class Choice:
    """A model by the name it was given, and who gave it: --model, a variable, a file, nobody."""

    name: str
    origin: str | Path | None


def which_model(named: str | None) -> Choice:
    """The model to run. InputError when that is for the settings to say and they are damaged."""
    if named:
        return Choice(named, "--model")
    if from_environment := os.environ.get(VARIABLE):
        return Choice(from_environment, f"${VARIABLE}")
    if chosen := chosen_model():
        return Choice(chosen, settings_file())
    return Choice(DEMO, None)


def choose_model(named: str | None) -> str:
    """The name of the model to run; says on stderr when it is the demo because none was named.

    Raises CheckpointError or HubError, naming the settings, when the one chosen for good is gone.
    """
    choice = which_model(named)
    if choice.origin is None:
        notice(
            "no model was named, so the built-in demo answers: it knows spoken digits, coloured "
            "shapes and a few questions. For a real one: `gemma4 convert e2b`, then `gemma4 use` "
            "what that wrote; or --model e2b, in 16 bits"
        )
    elif isinstance(choice.origin, Path):
        _check_still_there(choice.name, choice.origin)
    return choice.name


def _check_still_there(name: str, settings: Path) -> None:
    """What was chosen once is not downloaded anew unasked, and a folder may have been moved."""
    from gemma4_mlx.hub import cached_model, hub_name

    if name == DEMO or Path(name).is_dir():
        return
    told = f"the model chosen with `gemma4 use`, {name} (in {settings}), is no longer"
    hub_id = hub_name(name)
    if hub_id is None:
        raise CheckpointError(
            f"{told} there: choose another, or go back to the demo with `gemma4 use --clear`"
        )
    model = cached_model(hub_id)
    if model is None or not model.is_complete:
        raise HubError(
            f"{told} in the hub's cache: `gemma4 pull {name}` brings it back, `gemma4 use --clear` "
            "goes back to the demo"
        )


def open_model(
    named: str | None, ple: options.PlePlacement = "auto", media: Collection[str] = ()
) -> "tuple[str, Gemma4Model, Processor]":
    """Choose and load, to work on these kinds of media: name, model and processor."""
    name = choose_model(named)

    from gemma4_mlx.loading import find_checkpoint, load

    checkpoint = find_checkpoint(name)  # a download shows its own progress
    status(f"loading {name}")
    model, processor = load(checkpoint, ple)
    clear_status()
    warn_of_tight_fit(model, media)
    return name, model, processor


def warn_of_tight_fit(model: "Gemma4Model", media: Collection[str] = ()) -> None:
    """Say in one line when the weights leave the GPU too little memory to work well."""
    from gemma4_mlx.generation.working_set import tight_fit
    from gemma4_mlx.loading.ple_rows import table_placement

    found = tight_fit(model, media)
    if found is None:
        return
    in_memory = table_placement(model.ple_rows) == "memory"
    remedy = "give --ple flash, or " if in_memory else ""
    notice(
        f"the weights take {size(found[0])} of the {size(found[1])} that the GPU should use here, "
        f"so replies may be slow: {remedy}convert the model to fewer bits (`gemma4 convert`)"
    )
