"""A reply on stdout, as it comes or as one JSON object; what is said about it goes to stderr."""

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import typer

from gemma4_cli.console import notice, notices, say, think
from gemma4_cli.tools.lines import asks_in_vain

if TYPE_CHECKING:
    from gemma4_mlx.generation.session import ChatSession
    from gemma4_mlx.generation.stats import Stats
    from gemma4_mlx.generation.stream import Chunk


def print_text(chunks: "Iterable[Chunk]", has_tools: bool) -> None:
    """The text as it comes; thoughts beside it on stderr. Each reply begins a line of its own.

    Ends the command with status 1 where the last reply is a call that nobody answers.
    """
    thought = text = ""
    calls: list[dict[str, Any]] = []
    for chunk in chunks:
        notices(chunk.notices)
        calls += chunk.tool_calls
        if chunk.thought:
            think(chunk.thought)
        if chunk.text:
            if thought and not text:
                think("\n")
            say(chunk.text)
        thought, text = thought + chunk.thought, text + chunk.text
        if chunk.finish_reason is not None:
            if text and not text.endswith("\n"):
                say("\n")
            thought = text = ""
    if calls and not has_tools:
        notice(asks_in_vain(calls))
    _tell_of_the_end(chunk)
    if chunk.finish_reason == "tool_calls":
        raise typer.Exit(1)


def print_json(chunks: "Iterable[Chunk]", model: str, session: "ChatSession") -> None:
    """Text, thought, tool calls and their results, usage and timings.

    Where the results of calls had replies of their own, their texts are lines of one text.
    """
    texts, thoughts = [""], [""]
    calls: list[dict[str, Any]] = []
    replies: list[Stats] = []
    for chunk in chunks:
        notices(chunk.notices)
        texts[-1] += chunk.text
        thoughts[-1] += chunk.thought
        calls += chunk.tool_calls
        if chunk.finish_reason is not None:
            replies.append(chunk.stats)
            texts.append("")
            thoughts.append("")
    result: dict[str, Any] = {
        "model": model,
        "text": "\n".join(filter(None, texts)),
        "thought": "\n".join(filter(None, thoughts)),
        "tool_calls": calls,
        "tool_results": [message for message in session.messages if message["role"] == "tool"],
        "finish_reason": chunk.finish_reason,
    }
    result |= _figures(replies)
    say(json.dumps(result, ensure_ascii=False, indent=2), end="\n")
    _tell_of_the_end(chunk)


def _figures(replies: "Sequence[Stats]") -> dict[str, Any]:
    """Of all replies together: tokens, times in seconds, tokens a second, memory in bytes."""

    def total(name: str) -> Any:
        return sum(getattr(reply, name) for reply in replies)

    def rate(tokens: int, seconds: float) -> float:
        return round(tokens / seconds, 2) if tokens > 0 and seconds > 0 else 0.0

    prompt, generated = total("prompt_tokens"), total("generated_tokens")
    prefill, decode = total("prefill_seconds"), total("decode_seconds")
    return {
        "usage": {
            "prompt_tokens": prompt,
            "generated_tokens": generated,
            "total_tokens": prompt + generated,
        },
        "timings": {
            "time_to_first_token": round(replies[0].time_to_first_token, 4),
            "prefill_seconds": round(prefill, 4),
            "decode_seconds": round(decode, 4),
            "prefill_tps": rate(total("prefilled_tokens"), prefill),
            "decode_tps": rate(generated - len(replies), decode),
        },
        "peak_memory": max(reply.peak_memory for reply in replies),
    }


def _tell_of_the_end(chunk: "Chunk") -> None:
    if chunk.finish_reason == "length":
        notice(f"the reply was cut after {chunk.stats.generated_tokens} tokens: see --max-tokens")
