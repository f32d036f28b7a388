"""``gemma4 generate PROMPT``: one question, one answer, for scripts."""

from typing import Annotated

import typer

from gemma4_cli import options
from gemma4_cli.attachments import attach_all, check_budget
from gemma4_cli.media_order import in_order
from gemma4_cli.once import answer_once
from gemma4_cli.piped import beside, read_stdin
from gemma4_mlx.errors import InputError


def generate(
    context: typer.Context,
    prompt: Annotated[
        str | None,
        typer.Argument(
            help="What to ask. What is piped in follows it; with - all of the prompt is piped in.",
            show_default=False,
        ),
    ] = None,
    model: options.Model = None,
    image: options.Image = None,
    audio: options.Audio = None,
    video: options.Video = None,
    system: options.System = None,
    enable_thinking: options.Think = False,
    max_tokens: options.MaxTokens = None,
    temperature: options.Temperature = None,
    top_p: options.TopP = None,
    top_k: options.TopK = None,
    seed: options.Seed = None,
    image_tokens: options.ImageTokens = None,
    ple: options.Ple = "auto",
    kv_bits: options.KvBits = None,
    tool: options.Tools = None,
    yes_tools: options.YesTools = False,
    as_json: options.Json = False,
) -> None:
    """Answer one prompt and exit. The answer alone goes to stdout.

    With --tool and --json and without --yes-tools the functions that the model asks for are not
    run: the calls are in tool_calls.
    """
    check_budget(image_tokens)
    parts = attach_all(in_order(context, image=image, audio=audio, video=video))
    text = read_stdin() if prompt == "-" else beside(prompt or "")
    if not text and not parts and prompt is None:
        raise typer.BadParameter("give a question, or pipe one in", param_hint="PROMPT")
    if not text.strip() and not parts:
        raise InputError("the prompt is empty: give a question, a picture or a recording")
    answer_once(
        text,
        parts,
        system=system,
        tool_files=tool or [],
        yes_tools=yes_tools,
        model=model,
        ple=ple,
        as_json=as_json,
        enable_thinking=enable_thinking,
        max_tokens=max_tokens,
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        seed=seed,
        max_soft_tokens=image_tokens,
        kv_bits=kv_bits,
    )
