"""From a name to a directory: no path reaches the hub, and no name gives a traceback."""

from pathlib import Path

import pytest

from gemma4_mlx import CheckpointError, Gemma4Error, HubError
from gemma4_mlx.loading import ALIASES, find, find_checkpoint


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The hub ids that were asked for; each is answered with a directory of its name."""
    names: list[str] = []

    def answer(hub_id: str) -> Path:
        names.append(hub_id)
        return Path(hub_id)

    monkeypatch.setattr(find, "_from_hub", answer)
    return names


def refused(name: str | Path) -> str:
    with pytest.raises(Gemma4Error) as error:
        find_checkpoint(name)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    "name",
    [
        *("", " ", "nope", "e2b ", "e3b", "./nope", "../nope", "/nope/x", "~/nope", "nope/"),
        *("~nobody/x", "~no-such-user/x", "a/b/c", "a//b", "a b/c", "C:\\models\\x"),
        *("a\nb", "a/b\nc", "\0", "a/\0", "x" * 5000),
    ],
)
def test_names_of_nothing(
    name: str, asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path that does not exist is told as such, and not looked up in the network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    message = refused(name)
    assert message.startswith(f"there is no model {name!r}: ") and "'demo'" in message
    assert asked == []


@pytest.mark.parametrize(
    "name", ["a/b--c", "a..b/c", "-a/b", "a/.b", "a/b-", "a/b.git", "é/ü", "a/" + "b" * 200]
)
def test_names_no_hub_could_have(name: str) -> None:
    """They look like a hub id, but the hub's own rules exclude them: no request is made."""
    message = refused(name)
    assert message.startswith(repr(name)) and "nor a name the hub could have" in message


def test_a_hub_id_that_is_not_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(HubError, match="'someone/no-such-model'") as error:
        find_checkpoint("someone/no-such-model")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("alias", [*ALIASES, "E2B", "26B"])
def test_aliases_and_hub_ids(
    alias: str, asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    find_checkpoint(alias)
    find_checkpoint("someone/some-model_4.bit")
    assert asked == [ALIASES[alias.lower()], "someone/some-model_4.bit"]


def test_directories(asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Named absolutely, relatively, from home, or as what could be a hub id."""
    (tmp_path / "models" / "mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in (tmp_path / "models/mine", "models/mine", "./models/mine", "~/models/mine"):
        assert find_checkpoint(name).resolve() == (tmp_path / "models/mine").resolve()
    assert asked == []


def test_a_file_is_no_checkpoint(asked: list[str], tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.touch()
    with pytest.raises(CheckpointError, match=r"is a file: name the directory"):
        find_checkpoint(file)
    assert asked == []


def test_the_demo_comes_with_the_package(asked: list[str]) -> None:
    assert (find_checkpoint("demo") / "config.json").is_file()
    assert asked == []
