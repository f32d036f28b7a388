"""Where the per-layer embedding table was put, and how its rows are read from flash."""

import mmap
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from gemma4_mlx import load_model, memory
from gemma4_mlx.loading.ple_rows import table_placement
from gemma4_mlx.loading.safetensors_file import MappedTensor, TensorInfo, read_header
from tests import goldens


def of(family: str, ple: str) -> str | None:
    return table_placement(load_model(goldens.checkpoint(family), ple=ple).ple_rows)


def test_as_asked() -> None:
    assert [of("e2b", ple) for ple in ("flash", "memory")] == ["flash", "memory"]
    assert [of("31b", ple) for ple in ("flash", "memory", "auto")] == [None] * 3


def test_auto_goes_by_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """In memory up to 1/64 of it."""
    path: Path = goldens.checkpoint("e2b")
    rows = load_model(path, ple="flash").ple_tensors()
    table = sum(tensor.nbytes for tensor in rows.values())
    for machine, expected in ((64 * table, "memory"), (64 * table - 1, "flash")):
        monkeypatch.setattr(memory, "physical_memory", lambda size=machine: size)
        assert of("e2b", "auto") == expected


class Advised:
    """Stands for the map of a file and notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[int, int, int]] = []

    def madvise(self, *advice: int) -> None:
        self.told.append(advice)


def test_every_page_of_a_row_is_read_soon(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    mx.save_safetensors(str(file), {"t": mx.zeros((40, 700))})
    info = read_header(file)["t"]
    whole, advised = info.map(read_ahead=False), Advised()
    mapped = MappedTensor(whole.numbers, advised, info.start)  # type: ignore[arg-type]
    mapped.read_soon([0, 7, 39])
    for row, (advice, begin, length) in zip((0, 7, 39), advised.told, strict=True):
        assert advice == mmap.MADV_WILLNEED and begin % mmap.PAGESIZE == 0
        start = info.start + 2800 * row
        assert begin <= start < begin + mmap.PAGESIZE and begin + length == start + 2800
    whole.read_soon([0, 7, 39])  # the system takes such advice


def test_rows_are_announced_before_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a prompt once each, that of a step when its token is known."""
    announced: list[list[int]] = []
    made = TensorInfo.map

    class Noted(MappedTensor):
        def read_soon(self, rows: Any) -> None:
            announced.append(list(rows))
            super().read_soon(rows)

    def noted(self: TensorInfo, **how: bool) -> MappedTensor:
        found = made(self, **how)
        return Noted(found.numbers, found.file, found.start)

    monkeypatch.setattr(TensorInfo, "map", noted)
    source = load_model(goldens.checkpoint("e2b"), ple="flash").ple_rows
    assert source is not None and announced == []
    source.rows(np.array([[20, 9, 20], [9, 30, 30]]))
    assert announced == [[9, 20, 30]]
    write = source.step(mx.array([[1], [2]])).write
    assert write is not None and len(announced) == 1
    write(np.array([[50], [7]]))
    assert announced[1:] == [[50, 7]]
