"""Memory and time of a conversion to 4 bits, beside mlx-lm and mlx-vlm on the same source.

    make bench ARGS=conversion                      # the whole E2B and two layers of the 26B
    make bench ARGS="conversion --small --only ours mlx-lm"

Sources are random and of the released shapes (see ``checkpoints.py``). Everyone packs plainly:
4 bits, affine, groups of 64. mlx-lm leaves the towers out and mlx-vlm packs embed_audio too, so
what each wrote is in the table. Peaks are above those of an interpreter that does nothing.
"""

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

from tests.bench.processes import Measured, run

PLAIN = ("--q-bits", "4", "--q-group-size", "64")
SOURCE, DEST = "SOURCE", "DEST"
PROGRAMS = {
    "ours": ("gemma4_cli", "convert", SOURCE, DEST, "--bits", "4", "--group-size", "64"),
    "mlx-lm": ("mlx_lm", "convert", "--hf-path", SOURCE, "--mlx-path", DEST, "-q", *PLAIN),
    "mlx-vlm": ("mlx_vlm", "convert", "--hf-path", SOURCE, "--mlx-path", DEST, "-q", *PLAIN),
}
HEAD = "| program | resident, GB | anonymous, GB | seconds | written, GB | memory | time |"
RULE = "|---|---:|---:|---:|---:|---:|---:|"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="a tenth of the models")
    parser.add_argument("--only", nargs="+", choices=PROGRAMS, default=list(PROGRAMS))
    parser.add_argument("--families", nargs="+", choices=("e2b", "26b"), default=["e2b", "26b"])
    parser.add_argument("--folder", type=Path, help="where there is room: about 20 GB")
    options = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="bench-") as name:
        folder = Path(name)
        base = run([sys.executable, "-c", "pass"], folder / "log")
        print(f"an interpreter that does nothing: {base.resident / 1e6:.0f} MB resident")
        for family in options.families:
            failed += _family(family, options.small, options.only, base, folder)
    return min(failed, 1)


def _family(family: str, small: bool, programs: list[str], base: Measured, folder: Path) -> int:
    source = folder / family
    # In a process of its own: a child begins with the size of its parent.
    make = [sys.executable, "-m", "tests.bench.checkpoints", family, str(source)]
    made = run(make + ["--scale", "small"] * small, folder / "log")
    if made.code:
        print((folder / "log").read_text())
        return 1
    print(f"\n{family}, source of {_size(source) / 1e9:.1f} GB\n\n{HEAD}\n{RULE}", flush=True)
    failed = 0
    first: Measured | None = None
    for program in programs:
        dest = folder / "converted"
        places = {SOURCE: str(source), DEST: str(dest)}
        command = [sys.executable, "-m", *(places.get(arg, arg) for arg in PROGRAMS[program])]
        _forget(source)
        measured = run(command, folder / "log")
        if measured.code:
            lines = (folder / "log").read_text().splitlines() or ["no output"]
            print(f"| {program} | ended with code {measured.code}: {lines[-1]} |||||", flush=True)
            failed += 1
        else:
            first = first or measured
            print(_row(program, measured, base, first, _size(dest)), flush=True)
        shutil.rmtree(dest, ignore_errors=True)
    shutil.rmtree(source)
    return failed


def _row(program: str, it: Measured, base: Measured, first: Measured, written: int) -> str:
    """A line of the table; the ratios are to the first program."""
    memory = it.resident - base.resident
    cells = (
        program,
        f"{memory / 1e9:.2f}",
        f"{(it.anonymous - base.anonymous) / 1e9:.2f}",
        f"{it.seconds:.0f}",
        f"{written / 1e9:.2f}",
        f"{memory / (first.resident - base.resident):.1f} ×",
        f"{it.seconds / first.seconds:.1f} ×",
    )
    return f"| {' | '.join(cells)} |"


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def _forget(folder: Path) -> None:
    """Have the system drop the source from its cache, so that everyone reads it from the disk."""
    if not hasattr(os, "posix_fadvise"):
        return
    for file in folder.glob("*.safetensors"):
        with file.open("rb") as stream:
            os.fsync(stream.fileno())
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


if __name__ == "__main__":
    sys.exit(main())
