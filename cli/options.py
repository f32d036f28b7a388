"""Options that several commands share, declared once."""

from pathlib import Path
from typing import Annotated, Literal

import typer

Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="A directory, a hub id, e2b, e4b, 26b, 31b, or demo. "
        "Else $GEMMA4_MODEL, else the one chosen with `gemma4 use`, else the built-in demo.",
        show_default=False,
    ),
]
PlePlacement = Literal["auto", "flash", "memory"]  # as of loading, which is heavy to import
Ple = Annotated[
    PlePlacement,
    typer.Option(
        "--ple",
        help="Where the table of per-layer embeddings (E2B, E4B) stays: on flash, to read "
        "a row of it for a token, or in memory. auto: in memory if it takes at most 1/64 of that.",
    ),
]


def _eight(bits: int | None) -> int | None:
    if bits not in (None, 8):
        raise typer.BadParameter(f"{bits} bits cannot be had: give 8, or leave it out")
    return bits


KvBits = Annotated[
    int | None,
    typer.Option(
        "--kv-bits",
        callback=_eight,
        metavar="8",
        help="Keep keys and values of the global layers in 8 bits: half the memory a token.",
    ),
]
# Not "readable": what cannot be read is told with the other faults of files, in one line each.
Image = Annotated[
    list[str] | None,
    typer.Option(
        "--image",
        "-i",
        metavar="PATH|LINK",
        help="A picture to show it, by path or http link; may be repeated.",
    ),
]
Audio = Annotated[
    list[str] | None,
    typer.Option("--audio", "-a", metavar="PATH", help="A recording; may be repeated."),
]
Video = Annotated[
    list[str] | None,
    typer.Option("--video", "-v", metavar="PATH", help="A video; may be repeated."),
]
System = Annotated[str | None, typer.Option("--system", "-s", help="The system message.")]
Think = Annotated[bool, typer.Option("--think", help="Let the model think before it answers.")]
MaxTokens = Annotated[
    int | None,
    typer.Option("--max-tokens", min=1, help="Longest reply, in tokens. [default: 2048]"),
]
Temperature = Annotated[
    float | None,
    typer.Option("--temperature", "-t", min=0.0, help="0: always the most likely token."),
]
TopP = Annotated[float | None, typer.Option("--top-p", min=0.0, max=1.0, help="1 turns it off.")]
TopK = Annotated[int | None, typer.Option("--top-k", min=0, help="0 turns it off.")]
Seed = Annotated[int | None, typer.Option("--seed", min=0, help="The same seed, the same reply.")]
ImageTokens = Annotated[
    int | None,
    typer.Option(
        "--image-tokens",
        help="How closely to look at a picture: 70, 140, 280, 560 or 1120 tokens at most. "
        "[default: 280]",
        show_default=False,
    ),
]
Tools = Annotated[
    list[Path] | None,
    typer.Option(
        "--tool",
        metavar="FILE.py",
        help="A Python file whose functions the model may ask for; may be repeated. "
        "At a terminal you are asked before one runs.",
        readable=False,
    ),
]
YesTools = Annotated[bool, typer.Option("--yes-tools", help="Run these functions without asking.")]
Json = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print text, thought, tool calls and results, usage and timings as one JSON object.",
    ),
]
