"""The same random checkpoints through every engine, each in a process of its own.

A round runs all engines on a checkpoint, and every round begins with another one, so that what
warms up or slows down over minutes meets all of them. Figures are medians over the rounds, and so
are ratios: of the ratios within each round, with the least and the greatest of them beside it.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bench.engines import OURS

# Debian's MLX is built with a reference BLAS; float32 products of matrices need a real one.
OPENBLAS = Path("/usr/lib/x86_64-linux-gnu/openblas-pthread/libopenblas.so.0")

Figures = Mapping[str, Any]  # what measure.py prints for one prompt


class BenchError(Exception):
    """A process ended with an error; the message ends with its last line."""


@dataclass(frozen=True)
class Job:
    """A checkpoint to make and what to measure on it."""

    family: str
    scale: str
    what: str  # operations, speed or prefill
    prompts: tuple[int, ...]
    tokens: int = 64
    packed: bool = False  # converted to 4 bits, as everyone's plain conversion does

    @property
    def weights(self) -> str:
        return "4 bits" if self.packed else "float32"


@dataclass
class Results:
    """By engine and prompt length, the figures of every round that did not fail."""

    found: dict[tuple[str, int], dict[int, Figures]] = field(default_factory=dict)

    def add(self, engine: str, number: int, figures: Sequence[Figures]) -> None:
        for one in figures:
            self.found.setdefault((engine, one["prompt"]), {})[number] = one

    def of(self, engine: str, prompt: int, name: str) -> dict[int, float]:
        """A figure of every round."""
        rounds = self.found.get((engine, prompt), {})
        return {number: one[name] for number, one in rounds.items()}


def run_job(job: Job, engines: Sequence[str], rounds: int, folder: Path) -> Results:
    """Make the checkpoint, measure, and remove it again."""
    with tempfile.TemporaryDirectory(dir=folder, prefix="bench-") as name:
        path = checkpoint(job, Path(name))
        results = Results()
        for number in range(rounds):
            turn = number % len(engines)
            for engine in (*engines[turn:], *engines[:turn]):
                print(f"{job.family} {job.what}, round {number + 1}: {engine}", file=sys.stderr)
                try:
                    results.add(engine, number, json.loads(_last_line(_measure(job, engine, path))))
                except BenchError as error:
                    print(f"{engine}: {error}", file=sys.stderr)
    return results


def checkpoint(job: Job, folder: Path) -> Path:
    """Written in a process of its own: a child begins with the size of its parent."""
    source = folder / "source"
    dtype = "bfloat16" if job.packed else "float32"
    run([
        *(sys.executable, "-m", "tests.bench.checkpoints", job.family, str(source)),
        *("--scale", job.scale, "--dtype", dtype),
    ])  # fmt: skip
    if not job.packed:
        return source
    packed = folder / "packed"
    plain = ("--bits", "4", "--group-size", "64")
    run([sys.executable, "-m", "gemma4_cli", "convert", str(source), str(packed), *plain])
    return packed


def run(command: Sequence[str], env: Mapping[str, str] | None = None) -> str:
    """Stdout of a process; BenchError when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines() or ["no output"]
        raise BenchError(f"ended with code {done.returncode}: {last[-1]}")
    return done.stdout


def environment() -> dict[str, str]:
    """This process's, with OpenBLAS loaded before MLX's own BLAS where there is one."""
    env = dict(os.environ)
    if OPENBLAS.exists():
        env["LD_PRELOAD"] = " ".join(filter(None, (str(OPENBLAS), env.get("LD_PRELOAD"))))
    return env


def in_turns(
    one: Callable[[], float], other: Callable[[], float], rounds: int
) -> tuple[list[float], list[float]]:
    """What two functions give in every round, which begins with the one and the other by turns."""
    found: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):
        for side in (0, 1) if number % 2 else (1, 0):
            found[side].append((one, other)[side]())
    return found


def _measure(job: Job, engine: str, path: Path) -> str:
    return run(
        [
            *(sys.executable, "-m", "tests.bench.measure", engine, str(path), job.what),
            *("--prompts", *map(str, job.prompts), "--tokens", str(job.tokens)),
        ],
        environment(),
    )


def _last_line(text: str) -> str:
    """Engines print of their own."""
    return text.strip().splitlines()[-1]


# --- tables ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measure:
    """A column group: a figure of every engine and its ratio to ours."""

    title: str
    name: str
    show: Callable[[float], str]


def milliseconds(value: float) -> str:
    return f"{value * 1e3:.2f}"


def rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 99.5 else f"{value:.1f}"


def gigabytes(value: float) -> str:
    return f"{value / 1e9:.2f}"


def count(value: float) -> str:
    return f"{value:,.0f}"


def table(
    measured: Sequence[tuple[Job, Results]], measures: Sequence[Measure], engines: Sequence[str]
) -> Iterator[str]:
    """Markdown: one line for a checkpoint, a prompt and a measure; ratios are ours to theirs."""
    ratios = [
        (engine, peer)
        for engine in engines
        for peer in engines
        if engine in OURS and peer not in OURS
    ]
    titles = [f"{engine} / {peer}" for engine, peer in ratios]
    yield f"| {' | '.join(['shape', 'weights', 'prompt', 'measured', *engines, *titles])} |"
    yield "|---|---|---:|---|" + "---:|" * (len(engines) + len(ratios))
    for job, results in measured:
        for prompt in job.prompts:
            for measure in measures:
                values = {e: results.of(e, prompt, measure.name) for e in engines}
                cells = [
                    f"{job.family} {job.scale}",
                    job.weights,
                    f"{prompt:,}",
                    measure.title,
                    *(
                        measure.show(statistics.median(rounds.values())) if rounds else "–"
                        for rounds in values.values()
                    ),
                    *(ratios_of_rounds(values[engine], values[peer]) for engine, peer in ratios),
                ]
                yield f"| {' | '.join(cells)} |"


def ratios_of_rounds(ours: Mapping[int, float], theirs: Mapping[int, float]) -> str:
    """Their median, and the least and the greatest where these differ."""
    each = sorted(ours[number] / theirs[number] for number in ours if theirs.get(number))
    if not each:
        return "–"
    least, median, most = (f"{n:.2f}" for n in (each[0], statistics.median(each), each[-1]))
    return median if least == most else f"{median} ({least}–{most})"


def ratio(ours: float | None, theirs: float | None) -> str:
    """Two digits, or a dash where one of them failed."""
    return f"{ours / theirs:.2f}" if ours is not None and theirs else "–"
