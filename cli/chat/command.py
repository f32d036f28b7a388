"""What ``gemma4 chat`` takes; what it does is in the files beside this one.

With a terminal it is a conversation; without one, what is piped in is answered once.
"""

import sys
from typing import Annotated

import typer

from gemma4_cli import options
from gemma4_cli.attachments import attach_all, check_budget
from gemma4_cli.media_order import in_order
from gemma4_cli.once import answer_once
from gemma4_cli.piped import beside, read_stdin
from gemma4_mlx.errors import InputError


def chat(
    context: typer.Context,
    prompt: Annotated[str, typer.Argument(help="The first message.", show_default=False)] = "",
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
    go_on: Annotated[
        bool, typer.Option("--continue", "-c", help="Go on with the last conversation.")
    ] = False,
    mic: Annotated[
        bool, typer.Option("--mic", help="Speak instead of typing: Enter begins a recording.")
    ] = False,
    tool: options.Tools = None,
    yes_tools: options.YesTools = False,
    hide_thoughts: Annotated[
        bool, typer.Option("--hide-thoughts", help="Fold thoughts into one line.")
    ] = False,
    vi: Annotated[bool, typer.Option("--vi", help="Edit the line with vi's keys.")] = False,
    as_json: options.Json = False,
) -> None:
    """Talk with the model; media given here go with the first message.

    With piped input (echo … | gemma4 chat) it is answered once, on stdout.
    """
    check_budget(image_tokens)
    parts = attach_all(in_order(context, image=image, audio=audio, video=video))
    interactive = sys.stdin is not None and sys.stdin.isatty()
    if interactive and as_json:
        raise InputError("--json is for piped input: a conversation is no single answer")
    settings = {
        "max_tokens": max_tokens,
        "temperature": temperature,
        "top_p": top_p,
        "top_k": top_k,
        "seed": seed,
    }
    if interactive:
        from gemma4_cli.chat.start import ChatOptions, start

        start(
            ChatOptions(
                model=model,
                ple=ple,
                kv_bits=kv_bits,
                parts=parts,
                prompt=prompt,
                system=system,
                enable_thinking=enable_thinking,
                settings=settings,
                image_tokens=image_tokens,
                go_on=go_on,
                voice=mic,
                tool_files=tool or [],
                yes_tools=yes_tools,
                thoughts="fold" if hide_thoughts else "show",
                vi=vi,
            )
        )
        return

    for given, option in (
        (go_on, "--continue"),
        (mic, "--mic"),
        (hide_thoughts, "--hide-thoughts"),
        (vi, "--vi"),
    ):
        if given:
            raise InputError(f"{option} needs a terminal: leave it out with piped input")
    question = beside(prompt) if prompt else read_stdin()
    if not question.strip() and not parts:
        raise InputError("the piped input is empty: give a question, a picture or a recording")
    answer_once(
        question,
        parts,
        system=system,
        tool_files=tool or [],
        yes_tools=yes_tools,
        model=model,
        ple=ple,
        as_json=as_json,
        enable_thinking=enable_thinking,
        max_soft_tokens=image_tokens,
        kv_bits=kv_bits,
        **settings,
    )
