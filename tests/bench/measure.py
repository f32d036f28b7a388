"""One engine on one checkpoint, in a process of its own; prints its figures as one line of JSON.

    python -m tests.bench.measure ours CHECKPOINT operations
    python -m tests.bench.measure mlx-vlm CHECKPOINT speed --prompts 32 512 --tokens 64
    python -m tests.bench.measure ours CHECKPOINT prefill --prompts 512 4096
    python -m tests.bench.measure mlx-lm CHECKPOINT memory --prompts 16 --tokens 8

``pieces`` is for lockstep.py: it decodes as many tokens as each line of stdin says and prints the
seconds that took.

The host's share of a step is the processor time of the thread that runs the loop: building the
graph and handing it to MLX, while waiting for the device costs nothing. It is what stays with the
host whatever the device is, and other work on the machine hardly touches it. The time within
``mx.async_eval`` is told apart as dispatch; what it does on a GPU is another thing than on a CPU.
"""

import argparse
import json
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import mlx.core as mx

from tests.bench import graph
from tests.bench.engines import ENGINES, Tokens, wait_for
from tests.bench.processes import sample

# Below are ids of control tokens and placeholders, in every checkpoint of this folder.
FIRST_ID = 64
# Steps before anything is timed: kernels are compiled and buffers grown in them.
WARM_UP = 8
# Prompt tokens before a prompt is timed: weights are read from the file with them.
WARM_UP_PROMPT = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engine", choices=ENGINES)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("what", choices=("operations", "speed", "prefill", "memory", "pieces"))
    parser.add_argument("--prompts", nargs="+", type=int, default=[32], help="lengths, in tokens")
    parser.add_argument("--tokens", type=int, default=64, help="to decode after each prompt")
    options = parser.parse_args()
    if options.what == "operations":
        graph.use_stand_ins()
    vocabulary = json.loads((options.checkpoint / "config.json").read_text())["vocab_size"]
    tokens = ENGINES[options.engine](options.checkpoint)
    prompts = [prompt(length, vocabulary) for length in options.prompts]
    if options.what == "pieces":
        _pieces(options.engine, tokens, prompts[0], options.tokens)
    if options.what == "operations":
        figures = [_operations(tokens, ids) for ids in prompts]
    elif options.what == "prefill":
        figures = [_prefill(tokens, ids) for ids in prompts]
    elif options.what == "memory":
        figures = [_memory(tokens, ids, options.tokens) for ids in prompts]
    else:
        figures = [_speed(tokens, ids, options.tokens) for ids in prompts]
    print(json.dumps(figures), flush=True)
    _leave()


def _leave() -> NoReturn:
    """Debian's OpenBLAS 0.3.21 may wait for ever for its threads when a process exits."""
    os._exit(0)


def prompt(length: int, vocabulary: int) -> list[int]:
    """Random ids, the same for everyone."""
    draw = random.Random(length)
    return [draw.randrange(FIRST_ID, vocabulary) for _ in range(length)]


def _operations(tokens: Tokens, ids: Sequence[int]) -> dict[str, Any]:
    found = graph.of_a_step(tokens(ids, 2 * WARM_UP), WARM_UP)
    return {
        "prompt": len(ids),
        "operations": found.total,
        "kernels": found.kernels,
        "kinds": dict(found.kinds.most_common()),
    }


def _memory(tokens: Tokens, ids: Sequence[int], count: int) -> dict[str, Any]:
    """What this process holds after a reply, in bytes; its peaks are seen from outside.

    The mark of the most resident is the system's own and misses nothing.
    """
    for _ in tokens(ids, count):
        pass
    held = sample("self")
    return {
        "prompt": len(ids),
        "resident": held.get("VmRSS", 0),
        "anonymous": held.get("RssAnon", 0),
        "file": held.get("RssFile", 0),
        "peak_resident": held.get("VmHWM", 0),
        "mlx": mx.get_active_memory(),
        "peak_mlx": mx.get_peak_memory(),
    }


def _speed(tokens: Tokens, ids: Sequence[int], count: int) -> dict[str, Any]:
    """Medians over the steps of one reply; the prompt is read once before, to warm up."""
    for _ in tokens(ids, WARM_UP):
        pass
    mx.synchronize()
    mx.reset_peak_memory()

    # One more than is timed: a loop that knows its last token builds no step after it.
    steps = tokens(ids, WARM_UP + count + 1)
    start = time.perf_counter()
    next(steps)
    first = time.perf_counter() - start
    for _ in range(WARM_UP - 1):
        next(steps)
    within = _Stopwatch(mx.async_eval)
    mx.async_eval = within
    wall, host, dispatch = [], [], []
    try:
        for _ in range(count):
            within.seconds = 0.0
            before, thread = time.perf_counter(), time.thread_time()
            next(steps)
            host.append(time.thread_time() - thread)
            wall.append(time.perf_counter() - before)
            dispatch.append(within.seconds)
    finally:
        mx.async_eval = within.function
    building = [whole - part for whole, part in zip(host, dispatch, strict=True)]
    return {
        "prompt": len(ids),
        "prefill_tps": len(ids) / first,
        "decode_tps": count / sum(wall),
        "median_decode_tps": 1 / statistics.median(wall),
        "host": statistics.median(host),
        "build": statistics.median(building),
        "least_host": min(host),
        "least_build": min(building),
        "peak_memory": mx.get_peak_memory(),
    }


def _pieces(engine: str, tokens: Tokens, ids: Sequence[int], count: int) -> NoReturn:
    """Decode when told to, until nobody tells any more.

    What is queued ahead belongs to the piece that queued it: left running, it would slow the next
    engine's turn down and be had for nothing in this one's own.
    """
    steps = tokens(ids, WARM_UP + count + 1)
    for _ in range(WARM_UP):
        next(steps)
    wait_for(engine)
    print(json.dumps({"seconds": 0.0}), flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        for _ in range(int(line)):
            next(steps)
        wait_for(engine)
        print(json.dumps({"seconds": time.perf_counter() - start}), flush=True)
    _leave()


def _prefill(tokens: Tokens, ids: Sequence[int]) -> dict[str, Any]:
    """From a prompt to the first token; a short piece of it is read before, to warm up.

    Peak memory has the weights in it.
    """
    for _ in tokens(ids[:WARM_UP_PROMPT], 2):
        pass
    mx.synchronize()
    mx.clear_cache()
    mx.reset_peak_memory()
    start = time.perf_counter()
    next(tokens(ids, 2))
    seconds = time.perf_counter() - start
    return {
        "prompt": len(ids),
        "prefill_tps": len(ids) / seconds,
        "peak_memory": mx.get_peak_memory(),
    }


class _Stopwatch:
    """A function that tells how much of this thread's processor time its calls have taken."""

    def __init__(self, function: Callable[..., Any]):
        self.function, self.seconds = function, 0.0

    def __call__(self, *arguments: Any) -> Any:
        start = time.thread_time()
        try:
            return self.function(*arguments)
        finally:
            self.seconds += time.thread_time() - start


if __name__ == "__main__":
    main()
