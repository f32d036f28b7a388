"""A conversion is whole or not there, whatever becomes of its disk."""

import errno
import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from gemma4_convert import destination
from gemma4_convert.plan import ConversionPlan, make_plan
from gemma4_convert.recipe import plain_recipe
from gemma4_convert.writing import as_json
from gemma4_mlx.errors import CheckpointError, Gemma4Error, InputError
from gemma4_mlx.loading.safetensors_file import checkpoint_tensors
from tests import goldens
from tests.convert.planned import (
    COMPANIONS,
    Stop,
    contents,
    packed_whole,
    plan_of,
    same_bits,
    stop_after,
    write,
)
from tests.reference.checkpoints import copy_checkpoint, read_weights


@pytest.fixture
def plan() -> ConversionPlan:
    return plan_of("e2b")


def test_what_is_written(plan: ConversionPlan, tmp_path: Path) -> None:
    dest = tmp_path / "new" / "model"
    write(plan, dest)
    assert [path.name for path in dest.parent.iterdir()] == ["model"]
    expected, found = packed_whole(plan), read_weights(dest)
    assert found.keys() == expected.keys() == checkpoint_tensors(dest).keys()
    assert all(same_bits(found[name], expected[name]) for name in expected)
    files = contents(dest)
    assert {name: files[name] for name in COMPANIONS} == COMPANIONS
    index = json.loads(files["model.safetensors.index.json"])
    assert set(files) == {
        *COMPANIONS,
        *index["weight_map"].values(),
        "model.safetensors.index.json",
    }


def test_one_file_has_no_index(plan: ConversionPlan, tmp_path: Path) -> None:
    write(plan, tmp_path / "x", shard_bytes=10**9)
    assert set(contents(tmp_path / "x")) == {*COMPANIONS, "model.safetensors"}


def test_progress_rises_to_the_end(plan: ConversionPlan, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    write(plan, tmp_path / "x", progress=lambda done, total: seen.append((done, total)))
    done, totals = [step[0] for step in seen], {step[1] for step in seen}
    assert done[0] == 0
    assert done == sorted(done)
    assert totals == {done[-1]}


def test_a_link_as_destination_is_followed(plan: ConversionPlan, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "model")
    write(plan, tmp_path / "link")
    assert (tmp_path / "disk" / "model" / "config.json").is_file()
    assert (tmp_path / "link").is_symlink()


def test_json_as_the_hub_has_it() -> None:
    assert as_json({"name": "é"}).decode() == '{\n  "name": "é"\n}\n'


# --- disks ---------------------------------------------------------------------------------------


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def test_room_is_looked_for_first(
    plan: ConversionPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = plan.total_bytes - 1
    monkeypatch.setattr(destination.shutil, "disk_usage", lambda _: Usage(0, 0, free))
    with pytest.raises(InputError, match=r"needs 0\.\d MB more and .* has 0\.\d MB free"):
        write(plan, tmp_path / "deep" / "x")
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_already_needs_no_room(
    plan: ConversionPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Stop):
        write(plan, tmp_path / "x", progress=stop_after(0.8))
    kept = sum(f.stat().st_size for f in (tmp_path / ".x.partial").rglob("*.safetensors"))
    assert kept > plan.total_bytes / 2
    free = plan.total_bytes - kept // 2
    monkeypatch.setattr(destination.shutil, "disk_usage", lambda _: Usage(0, 0, free))
    write(plan, tmp_path / "x")


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (errno.ENOSPC, "the disk of .* is full: free some space and run the same command again"),
        (errno.EDQUOT, "the disk of .* is full"),
        (errno.EIO, r"cannot be written \(Input/output error\)"),
    ],
)
def test_a_disk_that_fails_while_it_is_written(
    code: int,
    told: str,
    plan: ConversionPlan,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write(plan, tmp_path / "whole")
    pwrite, written = os.pwrite, 0

    def failing(handle: int, raw: Any, start: int) -> int:
        nonlocal written
        if written > plan.total_bytes / 2:
            raise OSError(code, os.strerror(code))
        written += len(raw)
        return pwrite(handle, raw, start)

    notices: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", failing)
        with pytest.raises(InputError, match=told) as caught:
            write(plan, tmp_path / "x", notice=notices.append)
    assert "\n" not in str(caught.value)
    assert len(notices) == 1
    assert "files are kept in" in notices[0]
    assert not (tmp_path / "x").exists()
    assert not list((tmp_path / ".x.partial").rglob("*.unfinished"))
    write(plan, tmp_path / "x")
    assert contents(tmp_path / "x") == contents(tmp_path / "whole")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    if mount is None or sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("a file system of its own needs Linux and root")
    done = subprocess.run([mount, "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk])
    if done.returncode:
        pytest.skip("this system lets nobody mount a tmpfs")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_disk_that_fills_up(plan: ConversionPlan, small_disk: Path, tmp_path: Path) -> None:
    """Somebody else takes the room that was there at the beginning."""
    dest, filler = small_disk / "x", small_disk / "filler"
    write(plan, tmp_path / "whole")

    def fill(done: int, total: int) -> None:
        if done > total / 2 and not filler.exists():
            with filler.open("wb") as file, pytest.raises(OSError):
                while True:
                    file.write(bytes(4096))
                    file.flush()

    with pytest.raises(InputError, match="is full: free some space and run the same command"):
        write(plan, dest, progress=fill)
    assert not dest.exists()
    with pytest.raises(InputError, match=r"needs .* more and .* has .* free"):
        write(plan, dest)
    filler.unlink()
    write(plan, dest)
    assert contents(dest) == contents(tmp_path / "whole")


def test_a_place_where_nothing_can_be_written(plan: ConversionPlan, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot be written \((Not a directory|File exists)\)"):
        write(plan, tmp_path / "file" / "x")
    with pytest.raises(InputError, match="cannot be written"):
        write(plan, tmp_path / ("x" * 300))


# --- other processes ------------------------------------------------------------------------------


def test_a_second_conversion_to_the_same_place_is_refused(
    plan: ConversionPlan, tmp_path: Path
) -> None:
    refused: list[Gemma4Error] = []

    def second(done: int, total: int) -> None:
        if done == total:
            with pytest.raises(InputError, match=r"another conversion .* is running") as caught:
                write(plan, tmp_path / "x")
            refused.append(caught.value)

    write(plan, tmp_path / "x", progress=second)
    assert refused
    assert (tmp_path / "x" / "config.json").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_lock_that_nobody_holds_is_no_hindrance(plan: ConversionPlan, tmp_path: Path) -> None:
    partial = tmp_path / ".x.partial"
    partial.mkdir()
    with (partial / "lock").open("w") as left:
        fcntl.flock(left, fcntl.LOCK_EX)
    write(plan, tmp_path / "x")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_source_that_changes_meanwhile_is_refused(tmp_path: Path) -> None:
    source = copy_checkpoint(goldens.checkpoint("31b"), tmp_path / "source")

    def touch(done: int, total: int) -> None:
        if done == total:
            os.utime(source / "model.safetensors", (1, 1))

    with pytest.raises(CheckpointError, match="changed while it was converted"):
        write(make_plan(source, plain_recipe(4, 32)), tmp_path / "x", progress=touch)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
