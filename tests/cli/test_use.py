"""``gemma4 use``, the settings it writes, and which model runs because of them."""

import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gemma4_mlx.hub import ALIASES
from tests import goldens
from tests.hub_cache import HubCache
from tests.reference.families import raw_config

Run = Callable[..., Any]
CHECKPOINT = goldens.checkpoint("31b")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the settings are, once there are any."""
    return tmp_path / "config" / "gemma4" / "settings.toml"


def written(file: Path, text: str | bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text.encode() if isinstance(text, str) else text)


def test_nothing_is_chosen_yet(gemma4: Run, file: Path) -> None:
    result = gemma4("use")
    assert (result.status, result.err) == (0, "")
    assert result.out == "demo (built in; nothing else is chosen)\n"
    assert not file.parent.exists()


def test_a_directory(
    gemma4: Run, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written down absolutely: it is found from anywhere."""
    folder = tmp_path / 'odd "name" é\t\x7f🚀'
    folder.mkdir()
    (folder / "config.json").write_bytes((CHECKPOINT / "config.json").read_bytes())
    monkeypatch.chdir(tmp_path)
    result = gemma4("use", f"./{folder.name}")
    assert (result.status, result.err) == (0, "")
    assert tomllib.loads(file.read_text(encoding="utf-8")) == {"model": str(folder)}
    assert gemma4("use").out == f"{folder} ({file})\n"
    assert os.listdir(file.parent) == ["settings.toml"]


@pytest.mark.parametrize("name", ["31b", "31B", ALIASES["31b"]])
def test_a_model_of_the_cache(gemma4: Run, file: Path, hub_cache: HubCache, name: str) -> None:
    """An alias is written as what it stands for."""
    hub_cache.add_model(ALIASES["31b"], raw_config("31b"))
    assert gemma4("use", name).status == 0
    assert tomllib.loads(file.read_text()) == {"model": ALIASES["31b"]}


def test_the_demo_for_good(
    gemma4: Run, file: Path, loaded: list[str], says: Run, hub_cache: HubCache
) -> None:
    """Whoever has chosen it is not told each time that nothing was chosen."""
    assert gemma4("use", "demo").out == f"demo ({file})\n"
    says("a")
    assert gemma4("generate", "Hi").err == ""
    assert loaded == ["demo"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nonsense", ["there is no model 'nonsense'", "e2b"]),
        ("./nowhere", ["there is no model './nowhere'"]),
        ("e2b", ["google/gemma-4-E2B-it is not in the hub's cache", "gemma4 pull e2b"]),
        ("someone/begun", ["someone/begun is not wholly in", "gemma4 pull someone/begun"]),
        ("someone/llama", ["'llama'"]),
        ("someone/12b", ["12B", "not supported"]),
        ("folder", ["config.json is missing"]),
    ],
)
def test_what_does_not_exist_is_not_chosen(
    gemma4: Run,
    file: Path,
    hub_cache: HubCache,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    words: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    hub_cache.add("someone/begun", {"config.json": b"{}"})
    hub_cache.add_model("someone/llama", {"model_type": "llama"})
    hub_cache.add_model("someone/12b", {"model_type": "gemma4_unified"})
    result = gemma4("use", name)
    assert (result.status, result.out, result.err.count("\n")) == (1, "", 1)
    assert all(word in result.err for word in words), result.err
    assert not file.exists()


def test_clear(gemma4: Run, file: Path) -> None:
    gemma4("use", CHECKPOINT)
    result = gemma4("use", "--clear")
    assert result.status == 0 and result.out.startswith("demo ") and "again" in result.err
    assert not file.exists()
    assert "nothing had been chosen" in gemma4("use", "--clear").err
    assert gemma4("use", "--clear", "demo").status == 2


def test_lines_of_others_are_kept(gemma4: Run, file: Path) -> None:
    written(file, '# mine\nmodel = "old"  # a comment\ncolour = "red"\n[chat]\nmodel = 3\n')
    gemma4("use", CHECKPOINT)
    assert file.read_text() == (
        f'model = "{CHECKPOINT}"\n# mine\ncolour = "red"\n[chat]\nmodel = 3\n'
    )
    gemma4("use", "--clear")
    assert file.read_text() == '# mine\ncolour = "red"\n[chat]\nmodel = 3\n'


def test_a_link_stays_a_link(gemma4: Run, file: Path, tmp_path: Path) -> None:
    (tmp_path / "dotfiles.toml").write_text("")
    file.parent.mkdir(parents=True)
    file.symlink_to(tmp_path / "dotfiles.toml")
    gemma4("use", CHECKPOINT)
    assert file.is_symlink() and str(CHECKPOINT) in (tmp_path / "dotfiles.toml").read_text()


def test_where_the_settings_are(
    gemma4: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without $XDG_CONFIG_HOME, or with a relative one, in ~/.config."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for value in ("", "relative"):
        monkeypatch.setenv("XDG_CONFIG_HOME", value)
        gemma4("use", CHECKPOINT)
        assert (tmp_path / "home/.config/gemma4/settings.toml").exists()
        gemma4("use", "--clear")


DAMAGED = [
    "model = ",
    "model = 3",
    'model = ""',
    "model = ['e2b']",
    "not toml at all",
    b"\xff\xfe",
    'model = "a"\nmodel = "b"\n',
]


@pytest.mark.parametrize("text", DAMAGED)
def test_damaged_settings(
    gemma4: Run, file: Path, text: str | bytes, loaded: list[str], says: Run
) -> None:
    """One line that names the file; what is named on the command line or in $GEMMA4_MODEL runs."""
    written(file, text)
    for command in (["use"], ["use", CHECKPOINT], ["generate", "Hi"]):
        result = gemma4(*command)
        assert (result.status, result.out, result.err.count("\n")) == (1, "", 1), command
        assert str(file) in result.err and "gemma4 use --clear" in result.err
    assert file.read_bytes() == (text.encode() if isinstance(text, str) else text)

    says("a", "b")
    assert gemma4("generate", "Hi", "--model", "mine").out == "a\n"
    os.environ["GEMMA4_MODEL"] = "yours"
    assert gemma4("generate", "Hi").out == "b\n"
    del os.environ["GEMMA4_MODEL"]
    assert loaded == ["mine", "yours"]

    assert gemma4("use", "--clear").status == 0
    assert not file.exists()


def test_settings_that_cannot_be_read_or_written(gemma4: Run, file: Path) -> None:
    file.mkdir(parents=True)
    result = gemma4("use")
    assert result.status == 1 and str(file) in result.err and "Is a directory" in result.err
    file.rmdir()
    file.parent.rmdir()
    file.parent.touch()  # a file where the folder should be
    result = gemma4("use", CHECKPOINT)
    assert result.status == 1 and str(file.parent) in result.err and "bug" not in result.err


def test_which_model_runs(
    gemma4: Run, loaded: list[str], says: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--model, then $GEMMA4_MODEL, then the chosen one, then the demo."""
    says("a", "b", "c", "d")
    gemma4("generate", "Hi")
    gemma4("use", CHECKPOINT)
    assert gemma4("generate", "Hi").err == ""
    monkeypatch.setenv("GEMMA4_MODEL", "mine")
    gemma4("generate", "Hi")
    gemma4("generate", "Hi", "-m", "yours")
    assert loaded == ["demo", str(CHECKPOINT), "mine", "yours"]
    assert gemma4("use").out == "mine ($GEMMA4_MODEL)\n"
    result = gemma4("use", "--clear")
    assert result.out == "mine ($GEMMA4_MODEL)\n" and "goes before" in result.err


def test_a_folder_that_has_gone(gemma4: Run, tmp_path: Path, file: Path, loaded: list[str]) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_bytes((CHECKPOINT / "config.json").read_bytes())
    gemma4("use", folder)
    folder.rename(tmp_path / "elsewhere")
    result = gemma4("generate", "Hi")
    assert (result.status, result.err.count("\n"), loaded) == (1, 1, [])
    for word in (str(folder), str(file), "gemma4 use --clear"):
        assert word in result.err


def test_a_cached_model_that_has_gone(
    gemma4: Run, hub_cache: HubCache, file: Path, loaded: list[str]
) -> None:
    """It is not downloaded again without being asked for."""
    hub_cache.add_model(ALIASES["31b"], raw_config("31b"))
    gemma4("use", "31b")
    gemma4("rm", "31b", "--yes")
    result = gemma4("generate", "Hi")
    assert (result.status, result.err.count("\n"), loaded) == (1, 1, [])
    for word in (ALIASES["31b"], str(file), "gemma4 pull", "gemma4 use --clear"):
        assert word in result.err
