"""What reading the per-layer table from flash costs: our decoding with it on flash and in memory.

    python -m tests.bench.flash CHECKPOINT --rounds 10

Both run in one process on one decoder, by turns, some tokens each, and every round begins with
the other; the ratio is the median of the rounds' own. *wide rows* is narrow but for the table: rows
of 35 × 256 numbers, as E2B has them, for steps of little else, so that the cost of a row shows as
it never does in a released model. The file has been read before and lies in the system's cache.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.bench import checkpoints, measure
from tests.bench.checkpoints import Scale
from tests.bench.side_by_side import environment, in_turns, run

if TYPE_CHECKING:
    from gemma4_mlx.model import Gemma4Model
    from gemma4_mlx.text.per_layer_embeddings import RowSource

ROW = {"hidden_size_per_layer_input": 256}  # for one layer, in E2B and E4B
# A processor takes too long for 4 bits at the real width.
CASES: tuple[tuple[str, Scale, bool, dict[str, Any]], ...] = (
    ("wide rows", "narrow", False, ROW),
    ("wide rows", "narrow", True, ROW),
    ("small", "small", False, {}),
)
PROMPT, WARM_UP, TOKENS = 16, 4, 16


def section(rounds: int, folder: Path) -> Iterator[str]:
    """Markdown: one line for a shape and its weights."""
    yield "| E2B | weights | on flash, ms a token | in memory, ms a token | flash / memory |"
    yield "|---|---|---:|---:|---:|"
    for shape, scale, is_packed, changes in CASES:
        weights = "4 bits" if is_packed else "float32"
        print(f"{shape} in {weights}", file=sys.stderr)
        with tempfile.TemporaryDirectory(dir=folder, prefix="bench-") as name:
            path = Path(name) / "source"
            checkpoints.make("e2b", path, scale, "bfloat16" if is_packed else "float32", **changes)
            if is_packed:
                source, path = path, Path(name) / "packed"
                plain = ("--bits", "4", "--group-size", "64")
                run([sys.executable, "-m", "gemma4_cli", "convert", str(source), str(path), *plain])
            command = [sys.executable, "-m", "tests.bench.flash", str(path)]
            found = json.loads(run([*command, "--rounds", str(rounds)], environment()))
        flash, memory = found["flash"], found["memory"]
        told = [f"{statistics.median(side) * 1e3:.2f}" for side in (flash, memory)]
        ratio = statistics.median(a / b for a, b in zip(flash, memory, strict=True))
        yield f"| {shape} | {weights} | {' | '.join(told)} | {ratio:.3f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    flash, memory = times(options.checkpoint, options.rounds)
    print(json.dumps({"flash": flash, "memory": memory}))


def times(path: Path, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds for a token in every round, on flash and in memory."""
    from gemma4_mlx.loading import load_model

    # One decoder for both: the same weights elsewhere in memory are some percent faster or slower.
    model = load_model(path, ple="flash")
    flash, memory = model.ple_rows, load_model(path, ple="memory").ple_rows
    assert flash is not None and memory is not None
    for rows in (flash, memory):
        _seconds(model, rows)
    return in_turns(lambda: _seconds(model, flash), lambda: _seconds(model, memory), rounds)


def _seconds(model: "Gemma4Model", rows: "RowSource") -> float:
    """Of one decoded token: the prompt, the first tokens and the last one are not counted."""
    import mlx.core as mx

    from gemma4_mlx.generation.loop import generate_tokens

    model.use_ple_rows(rows)
    prompt: Sequence[int] = measure.prompt(PROMPT, model.config.text.vocab_size)
    steps = generate_tokens(
        model,
        {"input_ids": mx.array([list(prompt)])},
        model.make_cache(),
        lambda logits: mx.argmax(logits, axis=-1),
        max_tokens=WARM_UP + TOKENS + 1,
    )
    for _ in range(WARM_UP):
        next(steps)
    start = time.perf_counter()
    for _ in range(TOKENS):
        next(steps)
    seconds = time.perf_counter() - start
    for _ in steps:  # nothing of it may run on into the other's turn
        pass
    return seconds / TOKENS


if __name__ == "__main__":
    main()
