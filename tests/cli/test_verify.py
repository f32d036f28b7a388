"""``gemma4 verify``: one line a check, and the exit status."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gemma4_mlx.checks import against_transformers
from gemma4_mlx.checks import verify as module
from gemma4_mlx.checks.outcome import Check, Status
from tests.checks.whole import whole_checkpoint
from tests.cli.test_list_rm import Terminal
from tests.hub_cache import HubCache

Run = Callable[..., Any]

FOUND = [
    Check("files", Status.OK, "1 file"),
    Check("values", Status.WARNING, "odd"),
    Check("shapes", Status.FAILED, "30 do not fit", tuple(f"missing: {i}" for i in range(30))),
    Check("text", Status.SKIPPED, "not tried: why"),
]


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Check]:
    """What the checks find, whatever they look at; every kind of outcome."""
    checks = list(FOUND)
    monkeypatch.setattr(module, "verify", lambda _path, _progress: iter(checks))
    return checks


def test_one_line_a_check(gemma4: Run, found: list[Check], tmp_path: Path) -> None:
    result = gemma4("verify", tmp_path)
    assert (result.status, result.err) == (1, "")
    lines = result.out.splitlines()
    assert lines[:3] == [
        "ok      files: 1 file",
        "warning values: odd",
        "failed  shapes: 30 do not fit",
    ]
    assert lines[3] == "    missing: 0" and lines[22] == "    missing: 19"
    assert lines[23] == "    and 10 more (--json has all of them)"
    assert lines[24:] == ["skipped text: not tried: why"]


def test_on_a_terminal(
    gemma4: Run, found: list[Check], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = Terminal()
    monkeypatch.setattr("sys.stdout", screen)
    gemma4("verify", tmp_path)
    lines = [line for line in screen.getvalue().splitlines() if not line.startswith(" ")]
    assert [line[0] for line in lines] == ["✓", "!", "✗", "-"]


def test_nothing_failed(gemma4: Run, found: list[Check], tmp_path: Path) -> None:
    """A warning and a check that was not run are no failure."""
    found.pop(2)
    assert gemma4("verify", tmp_path).status == 0


def test_as_json(gemma4: Run, found: list[Check], tmp_path: Path) -> None:
    """All problems are in it."""
    result = gemma4("verify", tmp_path, "--json")
    document = json.loads(result.out)
    assert result.status == 1 and document["ok"] is False
    assert (document["model"], document["path"]) == (str(tmp_path), str(tmp_path))
    assert [check["status"] for check in document["checks"]] == [
        "ok",
        "warning",
        "failed",
        "skipped",
    ]
    assert document["checks"][2] == {
        "name": "shapes",
        "status": "failed",
        "detail": "30 do not fit",
        "problems": [f"missing: {i}" for i in range(30)],
    }
    found.pop(2)
    assert json.loads(gemma4("verify", tmp_path, "--json").out)["ok"] is True


def test_a_checkpoint(gemma4: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(against_transformers.importlib.util, "find_spec", lambda _name: None)
    path = whole_checkpoint("31b", tmp_path / "model")
    result = gemma4("verify", path)
    assert result.status == 0 and result.err == "", result
    assert "ok      text: " in result.out and "skipped transformers: " in result.out

    weights = path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    result = gemma4("verify", path)
    assert result.status == 1 and "cut short" in result.out and "Traceback" not in result.err


def test_a_model_of_the_cache_is_looked_at_as_it_is(gemma4: Run, hub_cache: HubCache) -> None:
    """Loading would ask the hub for what is missing; here that is what is to be told."""
    hub_cache.add("google/gemma-4-E2B-it", {"config.json": b"{"})
    result = gemma4("verify", "e2b")
    assert result.status == 1
    assert "failed  config: " in result.out and "failed  files: " in result.out


def test_names_of_nothing(gemma4: Run, hub_cache: HubCache, tmp_path: Path) -> None:
    for name in ("nonsense", tmp_path / "absent", "someone/absent"):
        result = gemma4("verify", name)
        assert (result.status, result.out, result.err.count("\n")) == (1, "", 1)
    assert gemma4("verify").status == 2
