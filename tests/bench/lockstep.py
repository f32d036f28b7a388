"""All engines on one checkpoint at the same time, some tokens each in turn.

The speed of a shared machine drifts by a third within minutes, which is more than what the engines
differ by when most of a step is reading weights. So every engine is loaded in a process of its own
and waits; then each decodes some tokens, and again, each turn beginning with another one. Where the
weights come to lie in memory makes a process some percent faster or slower for all its life, so
every round loads all engines anew. A ratio is the median over the turns of all rounds.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.bench.side_by_side import BenchError, Job, Results, checkpoint, environment

# Tokens in a row: so many that the first, before which nothing is queued, counts for little, and
# so few that turns are short.
PIECE = 16
TURNS = 4  # of a round


def decode(job: Job, engines: Sequence[str], rounds: int, folder: Path) -> Results:
    """Tokens a second of every turn, as ``decode_tps``; an engine that fails is left out."""
    results = Results()
    with tempfile.TemporaryDirectory(dir=folder, prefix="bench-") as name:
        path = checkpoint(job, Path(name))
        for number in range(rounds):
            first = number % len(engines)
            _round(job, (*engines[first:], *engines[:first]), number, path, results)
    return results


def _round(job: Job, engines: Sequence[str], number: int, path: Path, results: Results) -> None:
    prompt = job.prompts[0]
    with ExitStack() as stack:
        running: dict[str, _Engine] = {}
        for engine in engines:
            print(f"{job.family} {job.scale}, round {number + 1}: {engine}", file=sys.stderr)
            try:
                running[engine] = stack.enter_context(_Engine(engine, path, prompt))
            except BenchError as error:
                print(f"{engine}: {error}", file=sys.stderr)
        names = list(running)
        for turn in range(TURNS):
            first = turn % len(names)
            for engine in (*names[first:], *names[:first]):
                figures = {"prompt": prompt, "decode_tps": PIECE / running[engine].decode()}
                results.add(engine, number * TURNS + turn, [figures])


class _Engine:
    """A process that decodes ``PIECE`` tokens whenever it is told to."""

    def __init__(self, engine: str, path: Path, prompt: int):
        self.name = engine
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.bench.measure", engine, str(path), "pieces"),
                *("--prompts", str(prompt), "--tokens", str(PIECE * TURNS)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment(),
        )

    def __enter__(self) -> "_Engine":
        self._answer()  # once it is warm
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def decode(self) -> float:
        """Seconds for a piece."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{PIECE}\n")
        self.process.stdin.flush()
        return float(self._answer()["seconds"])

    def _answer(self) -> Mapping[str, Any]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith('{"seconds"'):  # engines print of their own
                return dict(json.loads(line))
        raise BenchError(f"{self.name} ended with code {self.process.wait()}")
