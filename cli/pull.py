"""``gemma4 pull MODEL``: download a model, or what is still missing of it."""

import sys
from typing import Annotated

import typer

from gemma4_cli.console import notice, say
from gemma4_cli.models import DEMO
from gemma4_cli.units import size
from gemma4_mlx.errors import InputError


def pull(
    model: Annotated[str, typer.Argument(help="A hub id, or e2b, e4b, 26b, 31b.")],
) -> None:
    """Download a model from the hub into its cache. Its directory goes to stdout.

    The same command goes on where a download broke off, and fetches what is newer on the hub.
    """
    from gemma4_mlx.hub import ALIASES, hub_name

    if model == DEMO:
        raise InputError("the demo model is part of the package: there is nothing to download")
    hub_id = hub_name(model)
    if hub_id is None:
        raise InputError(
            f"{model!r} is no name on the hub: give a hub id like {ALIASES['e2b']}, or one of "
            f"{', '.join(ALIASES)}"
        )

    from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]

    from gemma4_mlx.loading.pull import pull as pull_from_hub

    if not sys.stderr.isatty():
        disable_progress_bars()
    got = pull_from_hub(hub_id)
    if not got.asked:
        notice(
            f"{hub_id} is complete ({size(got.size)}); the hub could not be asked whether it has "
            "a newer one"
        )
    elif not got.fetched:
        notice(f"{hub_id} is already complete ({size(got.size)})")
    else:
        notice(f"{hub_id} is complete ({size(got.size)}, {size(got.fetched)} of it new)")
    say(str(got.path), end="\n")
