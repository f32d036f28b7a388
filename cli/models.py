"""Which model runs: the one named, else ``$GEMMA4_MODEL``, else the demo, which is then said."""

import os
from typing import TYPE_CHECKING

from gemma4_cli.console import clear_status, notice, status

if TYPE_CHECKING:
    from gemma4_mlx.model import Gemma4Model
    from gemma4_mlx.processing.processor import Processor

VARIABLE = "GEMMA4_MODEL"


def choose_model(named: str | None) -> str:
    """The model to run; says on stderr when it is the demo because none was named."""
    chosen = named or os.environ.get(VARIABLE)
    if chosen:
        return chosen
    notice(
        "no model was named, so the built-in demo answers: it knows spoken digits, coloured shapes "
        f"and a few questions. For a real one: --model e2b, or set {VARIABLE}=e2b"
    )
    return "demo"


def open_model(named: str | None) -> "tuple[str, Gemma4Model, Processor]":
    """Choose and load: its name, the model and its processor."""
    name = choose_model(named)

    from gemma4_mlx.loading import find_checkpoint, load

    checkpoint = find_checkpoint(name)  # a download shows its own progress
    status(f"loading {name}")
    model, processor = load(checkpoint)
    clear_status()
    return name, model, processor
