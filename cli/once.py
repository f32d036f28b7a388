"""One question, one answer: what ``gemma4 generate`` does, and ``gemma4 chat`` without a terminal.

The answer alone goes to stdout, as text or as JSON; everything else to stderr.
"""

import json
from collections.abc import Iterable
from contextlib import closing
from typing import TYPE_CHECKING, Any

from gemma4_cli.console import notice, notices, say, think

if TYPE_CHECKING:
    from collections.abc import Generator

    from gemma4_mlx.generation.stats import Stats
    from gemma4_mlx.generation.stream import Chunk


def answer(chunks: "Generator[Chunk, None, None]", model: str, as_json: bool) -> None:
    """Print a reply as it comes, or all of it as one JSON object at its end."""
    with closing(chunks):
        (print_json if as_json else print_text)(chunks, model)


def print_text(chunks: "Iterable[Chunk]", model: str) -> None:
    """The text as it comes; thoughts beside it on stderr."""
    thought = text = ""
    for chunk in chunks:
        notices(chunk.notices)
        if chunk.thought:
            think(chunk.thought)
        if chunk.text:
            if thought and not text:
                think("\n")
            say(chunk.text)
        thought, text = thought + chunk.thought, text + chunk.text
    if text and not text.endswith("\n"):
        say("\n")
    _tell_of_the_end(chunk)


def print_json(chunks: "Iterable[Chunk]", model: str) -> None:
    """Text, thought, tool calls, usage and timings."""
    result: dict[str, Any] = {"model": model, "text": "", "thought": "", "tool_calls": []}
    for chunk in chunks:
        notices(chunk.notices)
        result["text"] += chunk.text
        result["thought"] += chunk.thought
        result["tool_calls"] += chunk.tool_calls
    result["finish_reason"] = chunk.finish_reason
    result |= figures(chunk.stats)
    say(json.dumps(result, ensure_ascii=False, indent=2), end="\n")
    _tell_of_the_end(chunk)


def figures(stats: "Stats") -> dict[str, Any]:
    """Tokens, times in seconds, rates in tokens a second and memory in bytes."""
    return {
        "usage": {
            "prompt_tokens": stats.prompt_tokens,
            "generated_tokens": stats.generated_tokens,
            "total_tokens": stats.prompt_tokens + stats.generated_tokens,
        },
        "timings": {
            "time_to_first_token": round(stats.time_to_first_token, 4),
            "prefill_seconds": round(stats.prefill_seconds, 4),
            "decode_seconds": round(stats.decode_seconds, 4),
            "prefill_tps": round(stats.prefill_tps, 2),
            "decode_tps": round(stats.decode_tps, 2),
        },
        "peak_memory": stats.peak_memory,
    }


def _tell_of_the_end(chunk: "Chunk") -> None:
    if chunk.finish_reason == "length":
        notice(f"the reply was cut after {chunk.stats.generated_tokens} tokens: see --max-tokens")
