"""A conversion takes nobody else's place, and a checkpoint's only when it is asked to."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gemma4_convert.plan import ConversionPlan, make_plan
from gemma4_convert.recipe import plain_recipe
from gemma4_mlx.errors import InputError
from tests import goldens
from tests.convert.planned import Stop, contents, packed_whole, plan_of, stop_after, write
from tests.reference.checkpoints import copy_checkpoint, read_weights


@pytest.fixture
def plan() -> ConversionPlan:
    return plan_of("e2b")


def test_an_existing_destination_is_left_alone(plan: ConversionPlan, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="x exists: choose another"):
        write(plan, tmp_path / "x")
    assert contents(tmp_path / "x") == {"mine.txt": b"mine"}
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_force_replaces_a_checkpoint_when_the_new_one_is_whole(tmp_path: Path) -> None:
    dest = tmp_path / "x"
    write(plan_of("e2b"), dest)
    (dest / ".cache").mkdir()  # the hub's client leaves it
    old = read_weights(dest).keys()
    with pytest.raises(Stop):
        write(plan_of("31b"), dest, force=True, progress=stop_after(0.9))
    assert read_weights(dest).keys() == old
    write(plan_of("31b"), dest, force=True)
    assert read_weights(dest).keys() == packed_whole(plan_of("31b")).keys()
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_force_takes_an_empty_folder(plan: ConversionPlan, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    write(plan, tmp_path / "x", force=True)
    assert (tmp_path / "x" / "config.json").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def a_file(path: Path) -> None:
    path.write_text("mine")


def without_config(path: Path) -> None:
    path.mkdir()
    (path / "model.safetensors").write_bytes(b"mine")


def without_weights(path: Path) -> None:
    path.mkdir()
    (path / "config.json").write_text('{"model_type": "gemma4"}')


def with_more(path: Path) -> None:
    copy_checkpoint(goldens.checkpoint("31b"), path)
    (path / "pictures").mkdir()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (a_file, "it is no directory"),
        (without_config, "it has no config.json"),
        (without_weights, "it holds no model"),
        (with_more, "it holds the folder pictures"),
    ],
)
def test_force_never_deletes_what_is_no_checkpoint(
    make: Callable[[Path], None], reason: str, plan: ConversionPlan, tmp_path: Path
) -> None:
    make(tmp_path / "x")
    before = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*"))
    with pytest.raises(InputError, match=reason):
        write(plan, tmp_path / "x", force=True)
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*")) == before


@pytest.mark.parametrize("dest", ["models/source", "models", ".", "models/linked"])
def test_force_never_deletes_the_source(dest: str, tmp_path: Path) -> None:
    """Nor a folder that holds it, nor one that its files are links to."""
    source = copy_checkpoint(goldens.checkpoint("31b"), tmp_path / "models" / "source")
    copy_checkpoint(source, tmp_path / "models" / "linked")
    (source / "model.safetensors").unlink()
    (source / "model.safetensors").symlink_to(tmp_path / "models" / "linked/model.safetensors")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match="holds the source"):
        write(make_plan(source, plain_recipe(4, 32)), tmp_path / dest, force=True)
    assert sorted(tmp_path.rglob("*")) == before


def test_the_source_may_hold_the_destination(tmp_path: Path) -> None:
    source = copy_checkpoint(goldens.checkpoint("31b"), tmp_path / "source")
    write(make_plan(source, plain_recipe(4, 32)), source / "4bit")
    assert (source / "4bit" / "config.json").is_file()
