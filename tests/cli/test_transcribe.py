"""``gemma4 transcribe``."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


def test_the_text_alone_is_on_stdout(gemma4: Run, says: Run, recording: Run) -> None:
    says("one two three")
    result = gemma4("transcribe", recording(), "-m", "tiny")
    assert (result.status, result.out, result.err) == (0, "one two three\n", "")


def test_several_files_have_headers(gemma4: Run, says: Run, recording: Run) -> None:
    says("one", "two")
    a, b = recording("a.wav"), recording("b.wav")
    result = gemma4("transcribe", a, b)
    assert result.out == f"== {a}\none\n== {b}\ntwo\n"


def test_a_file_that_fails_does_not_stop_the_others(
    gemma4: Run, says: Run, recording: Run, tmp_path: Path
) -> None:
    says("one", "two")
    bad, gone = tmp_path / "bad.wav", tmp_path / "gone.wav"
    bad.write_text("no recording")
    a, b = recording("a.wav"), recording("b.wav")
    result = gemma4("transcribe", a, bad, gone, b, "-m", "tiny")
    assert result.status == 1
    assert result.out == f"== {a}\none\n== {b}\ntwo\n"
    assert result.err.splitlines()[-1].startswith("gemma4: 2 of 4 files failed: ")
    assert str(bad) in result.err.splitlines()[-1] and str(gone) in result.err.splitlines()[-1]
    assert len(result.err.splitlines()) == 3


def test_a_file_that_may_not_be_read_is_one_of_those(
    gemma4: Run, says: Run, recording: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No wrong usage, which would stop all of them: whoever opens it tells, in one line."""
    says("one")
    locked, a = recording("locked.wav"), recording("a.wav")
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != locked)
    opened = Path.open

    def open_unless_locked(path: Path, *args: Any, **kwargs: Any) -> Any:
        if path == locked:
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", open_unless_locked)
    result = gemma4("transcribe", locked, a, "-m", "tiny")
    assert (result.status, result.out) == (1, f"== {a}\none\n")
    assert len(result.err.splitlines()) == 2 and "Permission denied" in result.err


def test_nothing_is_loaded_for_files_that_are_not_there(
    gemma4: Run, loaded: list[str], tmp_path: Path
) -> None:
    assert gemma4("transcribe", tmp_path / "none.wav").status == 1
    assert loaded == []


def test_json_lines(gemma4: Run, says: Run, recording: Run) -> None:
    says("one", "two", "three")
    result = gemma4("transcribe", recording("a.wav"), recording("b.wav", 39), "-f", "json")
    first, second = map(json.loads, result.out.splitlines())
    assert (first["text"], second["text"]) == ("one", "two three")
    assert [s["text"] for s in second["segments"]] == ["two", "three"]
    assert [(s["start"], s["end"]) for s in second["segments"]] == [(0, 19), (20, 39)]


def test_output_files(gemma4: Run, says: Run, recording: Run, tmp_path: Path) -> None:
    says("one", "uno", "two", "three", "four")
    memo, folder = recording(), tmp_path / "new" / "out"
    result = gemma4("transcribe", memo, "-o", folder, "-m", "tiny")
    assert (result.status, result.out) == (0, "")
    assert (folder / "memo.txt").read_text() == "one\n"
    assert str(folder / "memo.txt") in result.err

    gemma4("transcribe", memo, "-o", folder, "-f", "json", "-l", "es", "-m", "tiny")
    assert json.loads((folder / "memo.json").read_text())["language"] == "Spanish"

    refused = gemma4("transcribe", memo, "-o", folder, "-m", "tiny")
    assert refused.status == 1 and "--force" in refused.err
    assert (folder / "memo.txt").read_text() == "one\n"

    assert gemma4("transcribe", memo, "-o", folder, "--force", "-m", "tiny").status == 0
    assert (folder / "memo.txt").read_text() == "two\n"
    assert sorted(path.name for path in folder.iterdir()) == ["memo.json", "memo.txt"]


def test_two_files_that_would_be_written_to_one(
    gemma4: Run, loaded: list[str], recording: Run, tmp_path: Path
) -> None:
    files = [recording("x/memo.wav"), recording("y/memo.wav")]
    result = gemma4("transcribe", *files, "-o", tmp_path / "out")
    assert result.status == 1 and "both" in result.err and loaded == []


def test_a_folder_that_cannot_be_written(
    gemma4: Run, says: Run, recording: Run, tmp_path: Path
) -> None:
    says("one")
    (tmp_path / "file").write_text("in the way")
    result = gemma4("transcribe", recording(), "-o", tmp_path / "file" / "out", "-m", "tiny")
    assert result.status == 1 and result.err.startswith("gemma4: ")
    assert "Traceback" not in result.err


def test_what_was_changed_goes_to_stderr(gemma4: Run, says: Run, recording: Run) -> None:
    says("one")
    result = gemma4("transcribe", recording(rate=8000), "-m", "tiny")
    assert result.out == "one\n"
    assert result.err.count("memo.wav") == 1 and "resampled from 8000 Hz" in result.err


def test_translation(gemma4: Run, says: Run, recording: Run) -> None:
    says("eins\nEnglish: one")
    result = gemma4("transcribe", recording(), "-l", "de", "--translate-to", "en", "-f", "json")
    answer = json.loads(result.out)
    assert (answer["text"], answer["segments"][0]["source"]) == ("one", "eins")
    assert (answer["language"], answer["translate_to"]) == ("German", "English")
