"""``gemma4 generate PROMPT``: one question, one answer, for scripts."""

from typing import Annotated, Any

import typer

from gemma4_cli import options
from gemma4_cli.attachments import attach_all, check_budget, content, fetched, kinds
from gemma4_cli.console import prefill_status
from gemma4_cli.media_order import in_order
from gemma4_cli.models import open_model
from gemma4_cli.once import answer
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
    as_json: options.Json = False,
) -> None:
    """Answer one prompt and exit. The answer alone goes to stdout."""
    check_budget(image_tokens)
    parts = attach_all(in_order(context, image=image, audio=audio, video=video))
    text = read_stdin() if prompt == "-" else beside(prompt or "")
    if not text and not parts and prompt is None:
        raise typer.BadParameter("give a question, or pipe one in", param_hint="PROMPT")
    if not text.strip() and not parts:
        raise InputError("the prompt is empty: give a question, a picture or a recording")
    messages: list[dict[str, Any]] = [{"role": "user", "content": content(fetched(parts), text)}]
    if system:
        messages.insert(0, {"role": "system", "content": system})
    name, gemma, processor = open_model(model, ple, kinds(parts))

    from gemma4_mlx.generation.stream import stream_generate

    chunks = stream_generate(
        gemma,
        processor,
        messages,
        enable_thinking=enable_thinking,
        max_tokens=max_tokens,
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        seed=seed,
        max_soft_tokens=image_tokens,
        on_prefill=prefill_status,
        kv_bits=kv_bits,
    )
    answer(chunks, name, as_json)
