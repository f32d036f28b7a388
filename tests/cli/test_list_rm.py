"""``gemma4 list`` and ``gemma4 rm``."""

import io
import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from gemma4_mlx.hub import ALIASES
from gemma4_mlx.released import released_config
from tests.hub_cache import HubCache
from tests.reference.families import raw_config

Run = Callable[..., Any]


@pytest.fixture
def full(hub_cache: HubCache) -> HubCache:
    """Two Gemma 4 models, one broken off, one of another kind."""
    hub_cache.add_model(ALIASES["e2b"], released_config("e2b"), weights=1_200_000)
    hub_cache.add_model("mlx-community/gemma-4-31b-it-4bit", released_config("31b"))
    (hub_cache.repository("mlx-community/gemma-4-31b-it-4bit") / "refs" / "main").unlink()
    hub_cache.add("google/gemma-4-begun", {"config.json": b"{"})
    hub_cache.add_model("meta/llama", {"model_type": "llama"})
    return hub_cache


def test_gemma_4_alone(gemma4: Run, full: HubCache) -> None:
    result = gemma4("list")
    assert result.status == 0
    rows = [line.split() for line in result.out.splitlines()]
    assert rows[0][:4] == ["google/gemma-4-E2B-it", "(e2b)", "E2B", "bf16"]
    assert rows[0][4:] == ["1.20", "MB"]
    assert rows[1][-3:] == ["gemma4", "pull", "google/gemma-4-begun"]
    assert len(rows) == 3 and "llama" not in result.out
    assert result.err == "gemma4: the model that runs when none is named: demo\n"


def test_columns_stand_under_one_another(gemma4: Run, full: HubCache) -> None:
    lines = gemma4("list", "--all").out.splitlines()
    ends = {re.search(r"[\d.]+ (bytes|kB|MB)", line).end() for line in lines}  # type: ignore[union-attr]
    assert len(lines) == 4 and len(ends) == 1


def test_all_of_them(gemma4: Run, full: HubCache) -> None:
    result = gemma4("list", "--all")
    assert len(result.out.splitlines()) == 4
    assert next(line for line in result.out.splitlines() if "llama" in line).startswith("  meta")


def test_the_default_has_a_star(gemma4: Run, full: HubCache, monkeypatch: Any) -> None:
    assert "*" not in gemma4("list").out
    gemma4("use", "e2b")
    result = gemma4("list")
    stars = [line for line in result.out.splitlines() if line.startswith("*")]
    assert len(stars) == 1 and "E2B" in stars[0] and result.err == ""
    monkeypatch.setenv("GEMMA4_MODEL", "elsewhere/model")
    result = gemma4("list")
    assert "*" not in result.out and "elsewhere/model" in result.err


def test_as_json(gemma4: Run, full: HubCache) -> None:
    gemma4("use", "e2b")
    result = gemma4("list", "--json")
    document = json.loads(result.out)
    assert document["cache"] == str(full.folder) and result.err == ""
    assert document["default"] == ALIASES["e2b"]
    by_id = {model.pop("hub_id"): model for model in document["models"]}
    snapshot = full.repository(ALIASES["e2b"]) / "snapshots" / ("c" * 40)
    assert by_id.pop(ALIASES["e2b"]) == {
        "gemma4": True,
        "kind": "E2B",
        "weights": "bf16",
        "bytes": sum(f.stat().st_size for f in snapshot.iterdir()) + 40,
        "complete": True,
        "supported": True,
        "path": str(snapshot),
        "default": True,
    }
    assert [model["default"] for model in by_id.values()] == [False, False]
    assert len(json.loads(gemma4("list", "--json", "--all").out)["models"]) == 4


def test_nothing_there(gemma4: Run, hub_cache: HubCache) -> None:
    result = gemma4("list")
    assert (result.status, result.out) == (0, "")
    assert f"no Gemma 4 in {hub_cache.folder}: `gemma4 pull e2b`" in result.err
    hub_cache.add_model("meta/llama", {"model_type": "llama"})
    assert "(1 of another kind: --all)" in gemma4("list").err


def test_what_does_not_run_here(gemma4: Run, hub_cache: HubCache) -> None:
    hub_cache.add_model("google/gemma-4-12B-it", {"model_type": "gemma4_unified"})
    assert gemma4("list").out.split()[-2:] == ["not", "supported"]


def test_settings_that_are_damaged(gemma4: Run, full: HubCache, tmp_path: Any) -> None:
    """The list is what it is; the damage is one line."""
    file = tmp_path / "config" / "gemma4" / "settings.toml"
    file.parent.mkdir(parents=True)
    file.write_text("model = ")
    result = gemma4("list")
    assert result.status == 0 and len(result.out.splitlines()) == 3
    assert str(file) in result.err and "Traceback" not in result.err


# --- rm ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["e2b", ALIASES["e2b"]])
def test_remove(gemma4: Run, full: HubCache, name: str) -> None:
    result = gemma4("rm", name, "--yes")
    assert (result.status, result.out) == (0, "")
    assert result.err == "gemma4: google/gemma-4-E2B-it is removed: 1.20 MB are free again\n"
    assert not full.repository(ALIASES["e2b"]).exists()
    assert "E2B" not in gemma4("list").out


def test_remove_what_broke_off(gemma4: Run, full: HubCache) -> None:
    assert gemma4("rm", "google/gemma-4-begun", "-y").status == 0
    assert not full.repository("google/gemma-4-begun").exists()


def test_without_a_terminal_it_has_to_be_said(gemma4: Run, full: HubCache) -> None:
    result = gemma4("rm", "e2b")
    assert result.status == 2 and "--yes" in result.err
    assert full.repository(ALIASES["e2b"]).exists()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("answer", "removed"),
    [("y\n", True), ("YES\n", True), ("n\n", False), ("\n", False), ("", False), ("yep\n", False)],
)
def test_at_a_terminal_it_asks(
    gemma4: Run, full: HubCache, monkeypatch: pytest.MonkeyPatch, answer: str, removed: bool
) -> None:
    screen = Terminal()
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    monkeypatch.setattr("sys.stderr", screen)
    result = gemma4("rm", "e2b")
    assert screen.getvalue().startswith("Remove google/gemma-4-E2B-it (1.20 MB)? [y/N] ")
    assert result.status == (0 if removed else 1)
    assert full.repository(ALIASES["e2b"]).exists() is not removed
    assert ("nothing was removed" in screen.getvalue()) is not removed


def test_what_is_not_there(gemma4: Run, full: HubCache, tmp_path: Any) -> None:
    result = gemma4("rm", "31b", "--yes")
    assert result.status == 1 and result.err.count("\n") == 1
    assert "google/gemma-4-31B-it is not in the hub's cache" in result.err
    assert "there: google/gemma-4-E2B-it, google/gemma-4-begun, meta/llama, mlx-com" in result.err
    assert "part of the package" in gemma4("rm", "demo", "--yes").err
    assert "yours to delete" in gemma4("rm", tmp_path, "--yes").err
    assert tmp_path.exists()
    assert gemma4("rm", "../..", "--yes").status == 1


def test_nothing_there_to_remove(gemma4: Run, hub_cache: HubCache) -> None:
    assert "there: nothing" in gemma4("rm", "e2b", "--yes").err


def test_removing_the_default_is_said(gemma4: Run, hub_cache: HubCache) -> None:
    hub_cache.add_model(ALIASES["31b"], raw_config("31b"))
    gemma4("use", "31b")
    result = gemma4("rm", "31b", "--yes")
    assert result.status == 0 and "gemma4 use --clear" in result.err
