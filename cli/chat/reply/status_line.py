"""The line under a reply: how long it was, how fast it came, and what it leaves free."""

import shutil
from typing import TYPE_CHECKING

from gemma4_cli.units import size

if TYPE_CHECKING:
    from gemma4_mlx.generation.stats import Stats


def status_line(
    stats: "Stats",
    context_used: int,
    context_limit: int,
    memory: int,
    *,
    columns: int | None = None,
) -> str:
    """``42 tokens · 31.5 tokens/s · first after 0.4 s · context 1,204 of 131,072 · 2.10 GB``.

    ``context_used`` and ``context_limit`` count tokens, ``memory`` bytes. Where a terminal of
    ``columns`` (None: the one there is) has no room for it all, parts are shortened and then left
    out, the least important first.
    """
    count, first = stats.generated_tokens, _seconds(stats.time_to_first_token)
    tokens, rate = f"{count:,} token{'' if count == 1 else 's'}", f"{stats.decode_tps:,.1f}"
    parts = {
        "tokens": tokens,
        "rate": f"{rate} tokens/s" if stats.decode_tps else "",
        "first": f"first after {first}" if count else "",
        "context": f"context {context_used:,} of {context_limit:,}",
        "memory": size(memory),
    }
    short = {
        "rate": f"{rate}/s" if stats.decode_tps else "",
        "first": f"first {first}" if count else "",
        "context": f"{context_used:,}/{context_limit:,}",
    }
    least_first = ("memory", "first", "context", "tokens", "rate")
    room = columns or shutil.get_terminal_size().columns
    changes = [(part, short[part]) for part in least_first if part in short]
    changes += [(part, "") for part in least_first]
    line = _joined(parts)
    for part, text in changes:
        if len(line) < room:  # a full row would begin the next
            break
        parts[part] = text
        line = _joined(parts)
    return line


def _joined(parts: dict[str, str]) -> str:
    return " · ".join(text for text in parts.values() if text)


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 0.1 else f"{seconds:.2f} s"
