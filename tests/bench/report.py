"""BENCHMARKS.md: tables between marks, each with where, when and how it was measured."""

import os
import platform
import sys
from collections.abc import Iterable
from datetime import date
from importlib.metadata import version
from pathlib import Path

from tests.bench.side_by_side import OPENBLAS

FILE = Path(__file__).resolve().parents[2] / "BENCHMARKS.md"
_PROGRAMS = ("mlx", "mlx-lm", "mlx-vlm")


def section(lines: Iterable[str], arguments: str) -> str:
    """What is printed, and written between the marks of a section."""
    return "\n".join([*lines, "", *_told(arguments)])


def write(name: str, content: str, file: Path = FILE) -> None:
    """Put the section between its marks; ValueError when the file has none of that name."""
    text = file.read_text(encoding="utf-8")
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    if begin not in text or end not in text:
        raise ValueError(f"{file.name} has no {begin} … {end}: put the two marks where it belongs")
    before, rest = text.split(begin, 1)
    after = rest.split(end, 1)[1]
    file.write_text(f"{before}{begin}\n{content}\n{end}{after}", encoding="utf-8")


def _told(arguments: str) -> Iterable[str]:
    yield f'`make bench ARGS="{arguments}"`, {date.today().isoformat()}: {machine()}; {programs()}.'


def machine() -> str:
    """Processor, cores, memory, system, BLAS."""
    import mlx.core as mx

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    device = mx.device_info().get("device_name", platform.machine())
    parts = [
        f"{device}, {os.cpu_count()} cores, {memory:.0f} GiB",
        f"{platform.system()}, Python {platform.python_version()}",
        f"MLX on the {'GPU' if mx.default_device() == mx.gpu else 'CPU'}",
    ]
    if sys.platform == "linux" and OPENBLAS.exists():
        parts[-1] += " with OpenBLAS"
    return ", ".join(parts)


def programs() -> str:
    return ", ".join(f"{name} {version(name)}" for name in _PROGRAMS)
