"""From the command to the first token, ours beside ``python -m mlx_vlm.generate``.

Both answer one question with one token, and the time is that to the first byte on stdout: neither
prints anything else there. The checkpoint is the demo model without its audio tower, for mlx-vlm
takes towers for 128 mel bins only and the demo's has 64. One run of each goes before, so that the
files are in the system's cache for everyone, and compiled, as an installed program's are. The help
of both is timed in the same way, to the first byte of it.
"""

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import mlx.core as mx

from gemma4_mlx import demo
from tests.bench.side_by_side import BenchError, environment

QUESTION = "What is the capital of France?"
PROGRAMS = {"ours": "gemma4_cli", "mlx-vlm": "mlx_vlm.generate"}
ONE_TOKEN = ("--max-tokens", "1", "--temperature", "0", "--model")


def table(rounds: int) -> Iterator[str]:
    """Markdown: seconds to the first token and to the help, medians over the rounds."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        path = deaf_demo(Path(name) / "demo")
        commands: dict[str, dict[str, tuple[str, ...]]] = {
            "the first token": {
                "ours": ("generate", QUESTION, *ONE_TOKEN, str(path)),
                "mlx-vlm": ("--prompt", QUESTION, *ONE_TOKEN, str(path)),
            },
            "the help": dict.fromkeys(PROGRAMS, ("--help",)),
        }
        yield "| until | `gemma4` | `python -m mlx_vlm.generate` | ours / mlx-vlm |"
        yield "|---|---:|---:|---:|"
        for what, arguments in commands.items():
            seconds: dict[str, list[float]] = {engine: [] for engine in PROGRAMS}
            for number in range(rounds + 1):
                for engine in sorted(PROGRAMS, reverse=number % 2 == 1):
                    print(f"start, {what}, round {number}: {engine}", file=sys.stderr)
                    taken = first_byte((PROGRAMS[engine], *arguments[engine]), Path(name))
                    if number:
                        seconds[engine].append(taken)
            ours, theirs = (statistics.median(seconds[engine]) for engine in PROGRAMS)
            yield f"| {what} | {ours:.2f} s | {theirs:.2f} s | {ours / theirs:.2f} |"


def first_byte(arguments: tuple[str, ...], folder: Path) -> float:
    """Seconds from starting ``python -m …`` to what it prints first.

    What Python compiles is kept in ``folder``, also where the environment says to keep nothing.
    """
    compiled = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(folder / "compiled")}
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment() | compiled,
    )
    assert process.stdout is not None
    got = process.stdout.read(1)
    taken = time.perf_counter() - start
    process.stdout.read()
    if process.wait() or not got.strip():
        raise BenchError(f"{arguments[0]} printed nothing, code {process.returncode}")
    return taken


def deaf_demo(path: Path) -> Path:
    """The demo model without its audio tower."""
    source = Path(demo.__file__).parent / "checkpoint"
    shutil.copytree(source, path)
    weights = mx.load(str(source / "model.safetensors"))
    assert isinstance(weights, dict)
    kept = {name: tensor for name, tensor in weights.items() if "audio" not in name}
    mx.save_safetensors(str(path / "model.safetensors"), kept, metadata={"format": "mlx"})
    raw = json.loads((path / "config.json").read_text())
    raw["audio_config"] = None
    (path / "config.json").write_text(json.dumps(raw))
    return path
