"""A conversion that ended early is taken up where it was, or started over; never half used."""

import json
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gemma4_convert.plan import ConversionPlan, make_plan
from gemma4_convert.recipe import plain_recipe
from gemma4_mlx.errors import InputError
from tests import goldens
from tests.convert.planned import Stop, contents, plan_of, stop_after, write
from tests.reference.checkpoints import copy_checkpoint

INDEX = "model.safetensors.index.json"


@pytest.fixture
def plan() -> ConversionPlan:
    return plan_of("e2b")


@pytest.fixture
def whole(plan: ConversionPlan, tmp_path: Path) -> dict[str, bytes]:
    """The files of a conversion that nothing interrupted."""
    write(plan, tmp_path / "whole")
    return contents(tmp_path / "whole")


def interrupted(plan: ConversionPlan, dest: Path, share: float = 0.8) -> Path:
    """The partial directory of a conversion that was stopped."""
    notices: list[str] = []
    with pytest.raises(Stop):
        write(plan, dest, progress=stop_after(share), notice=notices.append)
    assert not dest.exists()
    assert len(notices) == 1
    assert "are kept in" in notices[0]
    return dest.with_name(f".{dest.name}.partial")


def test_finished_files_are_used_again(
    plan: ConversionPlan, whole: dict[str, bytes], tmp_path: Path
) -> None:
    partial = interrupted(plan, tmp_path / "x")
    kept = {file.name: file.stat() for file in (partial / "model").iterdir()}
    assert len(kept) > 1
    notices: list[str] = []
    steps: list[int] = []
    write(
        plan, tmp_path / "x",
        notice=notices.append, progress=lambda done, total: steps.append(done),
    )  # fmt: skip
    assert contents(tmp_path / "x") == whole
    for name, before in kept.items():
        after = (tmp_path / "x" / name).stat()
        assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    count = len(set(json.loads(whole[INDEX])["weight_map"].values()))
    assert notices == [
        f"going on with an unfinished conversion: {len(kept)} of {count} files are there"
    ]
    assert steps[0] > 0
    assert not partial.exists()


def test_ctrl_c_keeps_what_is_finished(
    plan: ConversionPlan, whole: dict[str, bytes], tmp_path: Path
) -> None:
    def interrupt(done: int, total: int) -> None:
        if done > total / 2:
            raise KeyboardInterrupt

    notices: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        write(plan, tmp_path / "x", progress=interrupt, notice=notices.append)
    assert "the same command goes on from there" in notices[0]
    write(plan, tmp_path / "x")
    assert contents(tmp_path / "x") == whole


def test_with_nothing_finished_nothing_stays(plan: ConversionPlan, tmp_path: Path) -> None:
    notices: list[str] = []
    with pytest.raises(Stop):
        write(plan, tmp_path / "new" / "x", progress=stop_after(0.0), notice=notices.append)
    assert list(tmp_path.iterdir()) == []
    assert notices == []


@pytest.mark.parametrize("how", ["changed", "shortened", "removed"])
def test_a_damaged_file_is_written_again(
    how: str, plan: ConversionPlan, whole: dict[str, bytes], tmp_path: Path
) -> None:
    partial = interrupted(plan, tmp_path / "x")
    file = sorted((partial / "model").iterdir())[0]
    content = bytearray(file.read_bytes())
    if how == "removed":
        file.unlink()
    elif how == "shortened":
        file.write_bytes(content[:-1])
    else:
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    notices: list[str] = []
    write(plan, tmp_path / "x", notice=notices.append)
    assert any("is damaged and will be written again" in notice for notice in notices)
    assert contents(tmp_path / "x") == whole


@pytest.mark.parametrize("manifest", ["", "[]", '{"fingerprint": {}}', "\xff", None])
def test_without_its_manifest_it_starts_over(
    manifest: str | None, plan: ConversionPlan, whole: dict[str, bytes], tmp_path: Path
) -> None:
    partial = interrupted(plan, tmp_path / "x")
    file = partial / "manifest.json"
    if manifest is None:
        file.unlink()
    else:
        file.write_bytes(manifest.encode("latin-1"))
    steps: list[int] = []
    write(plan, tmp_path / "x", progress=lambda done, total: steps.append(done))
    assert steps[0] == 0
    assert contents(tmp_path / "x") == whole


def test_another_recipe_starts_over(plan: ConversionPlan, tmp_path: Path) -> None:
    partial = interrupted(plan, tmp_path / "x")
    other = plan_of("e2b", plain_recipe(8, 32))
    write(other, tmp_path / "whole")
    notices: list[str] = []
    write(other, tmp_path / "x", notice=notices.append)
    assert notices == [f"the unfinished conversion in {partial} had another recipe: starting over"]
    assert contents(tmp_path / "x") == contents(tmp_path / "whole")


@pytest.mark.parametrize("change", ["touched", "moved"])
def test_another_source_starts_over(change: str, tmp_path: Path) -> None:
    recipe = plain_recipe(4, 32)
    source = copy_checkpoint(goldens.checkpoint("e2b"), tmp_path / "source")
    interrupted(make_plan(source, recipe), tmp_path / "x")
    if change == "touched":
        (source / "model.safetensors").touch()
    else:
        source = source.rename(tmp_path / "other")
    notices: list[str] = []
    write(make_plan(source, recipe), tmp_path / "x", notice=notices.append)
    assert any("had another source: starting over" in notice for notice in notices)


# --- killed ---------------------------------------------------------------------------------------

# Ends itself by SIGKILL at the n-th moment: before each operation on files, and after each block.
SCRIPT = """
import os, signal, sys
from pathlib import Path

from gemma4_convert.recipe import plain_recipe
from tests.convert.planned import plan_of, write

dest, left, force = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "force"
plan = plan_of("e2b", plain_recipe(4, 32))

def moment():
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

OPERATIONS = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "open", "fcntl.flock")

def hook(event, args):
    if event in OPERATIONS and dest.name in str(args):
        moment()

sys.addaudithook(hook)
write(plan, dest, force=force, progress=lambda done, total: moment())
print(left)
"""


def converted_until(moment: int, dest: Path, force: bool = False) -> int:
    """The exit code of a conversion in a process that kills itself at a moment."""
    command = [sys.executable, "-c", SCRIPT, str(dest), str(moment), "force" * force]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode


@pytest.fixture(scope="module")
def moments(tmp_path_factory: pytest.TempPathFactory) -> int:
    """How many moments there are from the beginning to the end."""
    command = [
        sys.executable,
        "-c",
        SCRIPT,
        str(tmp_path_factory.mktemp("count") / "x"),
        "9999",
        "",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    count = 9999 - int(done.stdout)
    assert count > 100
    return count


def check_killed_and_resumed(
    moment: int, folder: Path, plan: ConversionPlan, whole: dict[str, bytes]
) -> None:
    """What a kill leaves is absent or whole, and the same command finishes it."""
    dest = folder / str(moment) / "x"
    dest.parent.mkdir()
    assert converted_until(moment, dest) != 0
    if dest.exists():
        assert contents(dest) == whole, f"killed at moment {moment}: there, but not whole"
        with pytest.raises(InputError, match="exists"):
            write(plan, dest)
    else:
        write(plan, dest)
    assert contents(dest) == whole
    assert [path.name for path in dest.parent.iterdir()] == ["x"]


def test_killed_at_some_moments(
    moments: int, plan: ConversionPlan, whole: dict[str, bytes], tmp_path: Path
) -> None:
    for moment in (*random.Random(20260402).sample(range(1, moments), 5), moments):
        check_killed_and_resumed(moment, tmp_path, plan, whole)


@pytest.mark.slow
def test_killed_at_the_beginning_at_the_end_and_between(
    moments: int, plan: ConversionPlan, whole: dict[str, bytes], tmp_path: Path
) -> None:
    """All moments but most of those between two blocks of a file, which are alike."""
    for moment in (*range(1, 12), *range(12, moments - 30, 29), *range(moments - 30, moments + 1)):
        check_killed_and_resumed(moment, tmp_path, plan, whole)


@pytest.mark.slow
def test_killed_while_it_replaces(
    moments: int, plan: ConversionPlan, whole: dict[str, bytes], tmp_path: Path
) -> None:
    """The old one stays until the new one is there, but for the moment between two renames."""
    dest = tmp_path / "x"
    write(plan_of("31b"), tmp_path / "old")
    old = contents(tmp_path / "old")
    found = []
    for moment in range(moments - 20, moments + 1):
        shutil.rmtree(dest, ignore_errors=True)
        shutil.copytree(tmp_path / "old", dest)
        assert converted_until(moment, dest, force=True) != 0
        left = contents(dest) if dest.exists() else None
        assert left in (None, old, whole)
        found.append("none" if left is None else "old" if left == old else "new")
        if left != whole:
            write(plan, dest, force=True)
        assert contents(dest) == whole
        assert sorted(path.name for path in tmp_path.iterdir() if "partial" in path.name) in (
            [], [".x.partial"],
        )  # fmt: skip
    assert found == sorted(found, key=["old", "none", "new"].index)
    assert found.count("none") <= 1
    assert {"old", "new"} <= set(found)
