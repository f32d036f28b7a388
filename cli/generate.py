"""``gemma4 generate PROMPT``: one question, one answer, for scripts."""

import json
import sys
from contextlib import closing
from typing import Annotated, Any

import typer

from gemma4_cli import options
from gemma4_cli.attachments import attach_all, content, kinds
from gemma4_cli.console import notice, notices, prefill_status, say, think
from gemma4_cli.models import open_model
from gemma4_mlx.errors import InputError


def generate(
    prompt: Annotated[str, typer.Argument(help="What to ask; - reads it from stdin.")],
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
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print text, thought, tool calls and figures as JSON."),
    ] = False,
) -> None:
    """Answer one prompt and exit. The answer alone goes to stdout."""
    parts = attach_all(image, audio, video)
    text = sys.stdin.read().strip() if prompt == "-" else prompt
    if not text and not parts:
        raise InputError("the prompt is empty: give a question, a picture or a recording")
    messages: list[dict[str, Any]] = [{"role": "user", "content": content(parts, text)}]
    if system:
        messages.insert(0, {"role": "system", "content": system})
    name, gemma, processor = open_model(model, ple, kinds(parts))

    from gemma4_mlx.generation.stream import stream_generate

    result: dict[str, Any] = {"model": name, "text": "", "thought": "", "tool_calls": []}
    ends_line = True
    with closing(
        stream_generate(
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
    ) as chunks:
        for chunk in chunks:
            notices(chunk.notices)
            result["text"] += chunk.text
            result["thought"] += chunk.thought
            result["tool_calls"] += chunk.tool_calls
            if as_json:
                continue
            if chunk.thought:
                think(chunk.thought)
            if chunk.text:
                if not result["text"].removesuffix(chunk.text) and result["thought"]:
                    think("\n")
                say(chunk.text)
                ends_line = chunk.text.endswith("\n")

    stats = chunk.stats
    if as_json:
        result["finish_reason"] = chunk.finish_reason
        result["stats"] = {
            "prompt_tokens": stats.prompt_tokens,
            "generated_tokens": stats.generated_tokens,
            "prefill_tps": round(stats.prefill_tps, 2),
            "decode_tps": round(stats.decode_tps, 2),
            "time_to_first_token": round(stats.time_to_first_token, 4),
            "peak_memory": stats.peak_memory,
        }
        say(json.dumps(result, ensure_ascii=False, indent=2), end="\n")
    elif not ends_line:
        say("\n")
    if chunk.finish_reason == "length":
        notice(f"the reply was cut after {stats.generated_tokens} tokens: see --max-tokens")
