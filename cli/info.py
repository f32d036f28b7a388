"""``gemma4 info MODEL``: what a model is made of and what it takes, without loading it."""

import json
from typing import Annotated

import typer

from gemma4_cli.console import notice, say


def info(
    model: Annotated[
        str, typer.Argument(help="A directory, a hub id, e2b, e4b, 26b, 31b, or demo.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print all figures as JSON.")] = False,
) -> None:
    """Show what a model is made of and what it takes. Reads no weights, downloads nothing."""
    from gemma4_cli.info_screen import show
    from gemma4_convert.datasheet import datasheet

    sheet = datasheet(model)
    missing, unexpected = sheet.inventory.missing, sheet.inventory.unexpected
    if missing or unexpected:
        notice(
            f"the files do not fit config.json: {len(missing)} tensors are missing and "
            f"{len(unexpected)} unexpected; gemma4 verify {model} names them"
        )
    if as_json:
        say(json.dumps(sheet.as_json(), ensure_ascii=False, indent=2), end="\n")
    else:
        show(sheet)
