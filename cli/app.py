"""The commands of ``gemma4``. Nothing heavy is imported here or by the files of the commands:

they are read for every ``gemma4 --help``, which is to answer at once.
"""

from typing import Annotated

import typer

from gemma4_cli.bench import bench
from gemma4_cli.chat import chat
from gemma4_cli.convert import convert
from gemma4_cli.generate import generate
from gemma4_cli.info import info
from gemma4_cli.list import list_models
from gemma4_cli.media_order import KeepsMediaOrder
from gemma4_cli.pull import pull
from gemma4_cli.rm import rm
from gemma4_cli.transcribe import transcribe
from gemma4_cli.use import use
from gemma4_cli.verify import verify
from gemma4_mlx import __version__

app = typer.Typer(
    help="Gemma 4 on this machine: talk to it, show it pictures, have recordings transcribed.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gemma4 {__version__}")
        raise typer.Exit()


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Declares the options that stand before a command."""


app.command(cls=KeepsMediaOrder)(chat)
app.command(cls=KeepsMediaOrder)(generate)
app.command()(transcribe)
app.command()(convert)
app.command()(verify)
app.command()(pull)
app.command("list")(list_models)
app.command()(rm)
app.command()(use)
app.command()(info)
app.command()(bench)
