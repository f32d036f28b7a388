"""What ``gemma4 transcribe`` is given: files, folders, some of them twice or not there."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


def test_a_folder_and_those_below(gemma4: Run, says: Run, recording: Run, tmp_path: Path) -> None:
    says("one", "two")
    for name in (".hidden.wav", ".git/x.wav", "deep/b.wav", "a.WAV"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        recording(f"in/{name}")
    (tmp_path / "in" / "notes.txt").write_text("not one of them")
    result = gemma4("transcribe", tmp_path / "in", "-m", "tiny")
    folder = tmp_path / "in"
    assert result.out == f"== {folder}/a.WAV\none\n== {folder}/deep/b.wav\ntwo\n"
    assert result.err == f"gemma4: {folder}: 2 recordings; other files left out: 1\n"


def test_a_folder_without_recordings(gemma4: Run, loaded: list[str], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("none here")
    result = gemma4("transcribe", tmp_path, "-m", "tiny")
    assert result.status == 1 and "has no recordings in it" in result.err
    assert len(result.err.splitlines()) == 1 and loaded == []


def test_a_folder_that_may_not_be_read(
    gemma4: Run, says: Run, recording: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not left out in silence."""
    says("one")
    recording("in/a.wav")
    (tmp_path / "in" / "locked").mkdir()
    scandir = os.scandir

    def scan(path: Any) -> Any:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scan)
    result = gemma4("transcribe", tmp_path / "in", "-m", "tiny")
    locked = tmp_path / "in" / "locked"
    assert result.status == 1 and result.out.endswith("a.wav\none\n")
    assert f"gemma4: {locked}: Permission denied\n" in result.err
    assert result.err.endswith(f"gemma4: 1 of 2 files failed: {locked}\n")


def test_a_file_named_twice_is_heard_once(
    gemma4: Run, says: Run, recording: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    says("one", "two")
    a, _ = recording("in/a.wav"), recording("in/b.wav")
    monkeypatch.chdir(tmp_path)
    result = gemma4("transcribe", "in/a.wav", a, "in", "in/../in/a.wav", "-m", "tiny")
    assert (result.status, result.out) == (0, "== in/a.wav\none\n== in/b.wav\ntwo\n")
    told = [f"gemma4: {name}: named twice, heard once" for name in (a, "in/a.wav")]
    assert result.err.splitlines() == [*told, told[1].replace("in/a", "in/../in/a")]


def test_nothing_is_loaded_for_files_that_are_not_there(
    gemma4: Run, loaded: list[str], tmp_path: Path
) -> None:
    result = gemma4("transcribe", tmp_path / "none.wav", "-m", "tiny")
    assert (result.status, result.out, loaded) == (1, "", [])
    assert result.err == (
        f"gemma4: {tmp_path / 'none.wav'} does not exist: check the path of the recording\n"
    )


def test_a_pipe_with_a_name(gemma4: Run, loaded: list[str], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    result = gemma4("transcribe", tmp_path / "pipe", "-m", "tiny")
    assert result.status == 1 and "gemma4 transcribe -" in result.err and loaded == []


@pytest.mark.skipif(sys.platform == "darwin", reason="its file systems take names of UTF-8 alone")
def test_names_that_are_no_text(gemma4: Run, says: Run, recording: Run, tmp_path: Path) -> None:
    """They neither steer the terminal nor stop the others, and the file written is theirs."""
    says("one", "two", "three", "four")
    memo = recording()
    odd = [os.fsdecode(bytes(tmp_path) + name) for name in (b"/a\n\x1b[2Jb.wav", b"/c\xff.wav")]
    for name in odd:
        Path(name).write_bytes(memo.read_bytes())
    result = gemma4("transcribe", *odd, "-m", "tiny")
    assert result.status == 0 and "\x1b" not in result.out
    assert result.out.splitlines()[::2] == [f"== {tmp_path}/a [2Jb.wav", f"== {tmp_path}/c�.wav"]

    result = gemma4("transcribe", *odd, "-o", tmp_path / "out", "-f", "json", "-m", "tiny")
    assert result.status == 0 and len(result.err.splitlines()) == 2 and "\x1b" not in result.err
    written = Path(os.fsdecode(bytes(tmp_path / "out") + b"/c\xff.json"))
    assert json.loads(written.read_text())["file"] == f"{tmp_path}/c�.wav"
    written = tmp_path / "out" / "a\n\x1b[2Jb.json"
    assert json.loads(written.read_text())["file"] == odd[0]
