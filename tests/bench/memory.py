"""How much memory a short text chat takes: each engine in a process of its own, on the same file.

Random E2B and E4B of full size, in 4 bits as everyone packs them, once with the towers in the file
and once without (mlx-vlm opens no file without a vision tower: there a tiny one is left). Peaks are
the most while the process lives, loading included. Anonymous memory is what the system cannot drop
and read again from a file; ours reads the per-layer table from such a file. MLX's own is what its
arrays take, without interpreter, libraries and buffers.
"""

import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.bench.processes import run as watch
from tests.bench.side_by_side import BenchError, Figures, ratio, run

PROMPT, TOKENS = 8, 3  # a processor takes seconds for a token of 4 bits
FAMILIES = ("e2b", "e4b")
FILES = {"with towers": (), "text only": ("--text-only",)}
MEASURES = {
    "anonymous, peak": "peak_anonymous",
    "resident, peak": "peak_resident",
    "anonymous, at the end": "anonymous",
    "resident, at the end": "resident",
    "MLX's own, peak": "peak_mlx",
}


def section(
    shapes: Sequence[tuple[str, str]], engines: Sequence[str], folder: Path
) -> Iterator[str]:
    """Markdown: one line for a shape (family, scale), a file and a measure.

    Ratios are ours to theirs.
    """
    peers = [engine for engine in engines if engine != "ours"]
    ratios = [f"ours / {peer}" for peer in peers] if "ours" in engines else []
    yield f"| {' | '.join(['model', 'file', 'memory, GB', *engines, *ratios])} |"
    yield "|---|---|---|" + "---:|" * (len(engines) + len(ratios))
    for family, scale in shapes:
        for file, options in FILES.items():
            found = _compared(family, scale, options, engines, folder)
            for title, name in MEASURES.items():
                # None where nothing tells the figure: no /proc, or an engine that failed.
                values = {engine: found[engine].get(name) or None for engine in engines}
                cells = [
                    *(f"{family} {scale}", file, title),
                    *("–" if value is None else f"{value / 1e9:.2f}" for value in values.values()),
                    *(ratio(values["ours"], values[peer]) for peer in peers if ratios),
                ]
                yield f"| {' | '.join(cells)} |"


def _compared(
    family: str, scale: str, options: Sequence[str], engines: Sequence[str], folder: Path
) -> dict[str, Figures]:
    """The figures of every engine; the checkpoint is made and removed again."""
    found: dict[str, Figures] = {}
    with tempfile.TemporaryDirectory(dir=folder, prefix="bench-") as name:
        path = packed(family, scale, options, Path(name))
        for engine in engines:
            print(f"{family} memory: {engine}", file=sys.stderr)
            try:
                found[engine] = _measured(engine, path, Path(name) / "log")
            except BenchError as error:
                print(f"{engine}: {error}", file=sys.stderr)
                found[engine] = {}
    return found


def packed(family: str, scale: str, options: Sequence[str], folder: Path) -> Path:
    """A checkpoint in 4 bits; what it was made of is removed at once, for it takes up to 16 GB."""
    source, path = folder / "source", folder / "packed"
    make = (sys.executable, "-m", "tests.bench.checkpoints", family, str(source))
    run([*make, "--scale", scale, *options])
    plain = ("--bits", "4", "--group-size", "64")
    run([sys.executable, "-m", "gemma4_cli", "convert", str(source), str(path), *plain])
    for file in source.iterdir():
        file.unlink()
    return path


def _measured(engine: str, path: Path, log: Path) -> Figures:
    lengths = ("--prompts", str(PROMPT), "--tokens", str(TOKENS))
    seen = watch(
        [sys.executable, "-m", "tests.bench.measure", engine, str(path), "memory", *lengths], log
    )
    lines = log.read_text().strip().splitlines() or ["no output"]
    if seen.code:
        raise BenchError(f"ended with code {seen.code}: {lines[-1]}")
    (told,) = json.loads(next(line for line in reversed(lines) if line.startswith("[{")))
    return {**told, "peak_anonymous": seen.anonymous, "peak_resident": seen.resident}
