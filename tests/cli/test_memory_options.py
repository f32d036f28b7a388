"""``--ple`` and ``--kv-bits`` where models run, and the notice of a model that hardly fits."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlx.core as mx
import pytest

from gemma4_mlx import loading
from gemma4_mlx.model import Gemma4Model
from tests.generation.tiny_model import picture

Run = Callable[..., Any]
DIGITS = Path(__file__).resolve().parents[2] / "notebooks/demo_model/digits.wav"

COMMANDS = {
    "generate": ("generate", "Hi", "-m", "demo"),
    "chat": ("chat", "-m", "demo"),
    "transcribe": ("transcribe", DIGITS, "-m", "demo"),
}


@pytest.fixture(autouse=True)
def piped(monkeypatch: pytest.MonkeyPatch) -> None:
    """What chat reads, each time that it runs."""
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: False, read=lambda: "Hi"))


@pytest.fixture
def placements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Where every model that is loaded was asked to have its table."""
    asked: list[str] = []
    load = loading.load

    def noted(path: Path, ple: Any) -> Any:
        asked.append(ple)
        return load(path, ple)

    monkeypatch.setattr(loading, "load", noted)
    return asked


@pytest.mark.parametrize("command", COMMANDS)
def test_where_the_table_stays(gemma4: Run, placements: list[str], command: str) -> None:
    said = []
    for options in ((), ("--ple", "flash"), ("--ple", "memory")):
        result = gemma4(*COMMANDS[command], *options)
        assert result.status == 0, result.err
        said.append(result.out)
    assert placements == ["auto", "flash", "memory"]
    assert said[0] == said[1] == said[2] != ""


@pytest.mark.parametrize("command", ["generate", "chat"])
def test_the_cache_in_8_bits(gemma4: Run, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    make = Gemma4Model.make_cache

    def noted(self: Gemma4Model, kv_bits: int | None = None) -> Any:
        made.append(kv_bits)
        return make(self, kv_bits)

    monkeypatch.setattr(Gemma4Model, "make_cache", noted)
    assert gemma4(*COMMANDS[command]).status == 0
    assert set(made) == {None}
    made.clear()
    assert gemma4(*COMMANDS[command], "--kv-bits", 8).status == 0
    assert set(made) == {8}


@pytest.fixture
def mac(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """A GPU that should use so many bytes."""

    def use(nbytes: int) -> None:
        monkeypatch.setattr(mx.metal, "is_available", lambda: True)
        monkeypatch.setattr(mx, "device_info", lambda: {"max_recommended_working_set_size": nbytes})

    return use


@pytest.mark.parametrize("command", [*COMMANDS, "bench"])
def test_a_model_that_hardly_fits_is_told_once(gemma4: Run, mac: Run, command: str) -> None:
    bench = ("bench", "demo", "-p", 5, "-g", 2, "-n", 1)
    arguments = COMMANDS.get(command, bench)
    mac(10**9)

    def told(*options: str) -> list[str]:
        """Lines on stderr, but for those of ``bench`` that say how far it is."""
        result = gemma4(*arguments, *options)
        assert result.status == 0
        return [line for line in result.err.splitlines() if "warming up" not in line]

    assert told() == []
    mac(10**6)
    (line,) = told("--ple", "memory")
    assert "of the 1.00 MB that the GPU should use" in line and "--ple flash" in line
    assert not any("--ple" in line for line in told("--ple", "flash"))


def test_what_the_towers_take_counts_with_a_picture(gemma4: Run, mac: Run, tmp_path: Path) -> None:
    def taken(*arguments: object) -> str:
        line: str = gemma4("generate", "Hi", "-m", "demo", *arguments).err
        return line.split("take ")[1].split(" of ")[0]

    mac(10**6)
    alone = taken("--ple", "flash")
    assert taken("--ple", "flash", "-i", picture(tmp_path / "a.png")) > alone
