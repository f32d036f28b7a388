"""``gemma4 transcribe --output-dir``: files for each recording, whole or not at all."""

import json
import os
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pysubs2
import pytest

Run = Callable[..., Any]
EXTENSIONS = ("json", "srt", "tsv", "txt", "vtt")


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_file_for_each(gemma4: Run, says: Run, recording: Run, tmp_path: Path) -> None:
    says("one", "two")
    folder = tmp_path / "new" / "out"
    memos = recording("a.wav"), recording("b.wav")
    result = gemma4("transcribe", *memos, "-o", folder, "-m", "tiny")
    assert (result.status, result.out) == (0, "")
    assert (folder / "a.txt").read_text() == "one\n" and names(folder) == ["a.txt", "b.txt"]
    assert result.err == "".join(
        f"gemma4: {memo}: written to {folder / memo.stem}.txt\n" for memo in memos
    )


def test_every_format_is_read_by_others(
    gemma4: Run, says: Run, recording: Run, tmp_path: Path
) -> None:
    says("one", "two > three")
    memo = recording(seconds=39)
    assert gemma4("transcribe", memo, "-o", tmp_path / "out", "-f", "all", "-l", "es").status == 0
    assert names(tmp_path / "out") == [
        f"memo.{ext}" for ext in ("json", "srt", "tsv", "txt", "vtt")
    ]
    for form in ("srt", "vtt"):
        cues = pysubs2.load(str(tmp_path / "out" / f"memo.{form}"))
        told = [(cue.start, cue.end, cue.plaintext.replace("&gt;", ">")) for cue in cues]
        assert told == [(0, 19_000, "one"), (20_000, 39_000, "two > three")]
    rows = (tmp_path / "out" / "memo.tsv").read_text().splitlines()
    assert rows == ["start\tend\ttext", "0\t19000\tone", "20000\t39000\ttwo > three"]
    answer = json.loads((tmp_path / "out" / "memo.json").read_text())
    assert (answer["language"], answer["file"]) == ("Spanish", str(memo))
    assert (tmp_path / "out" / "memo.txt").read_text() == "one two > three\n"


def test_nothing_is_written_over_unasked(
    gemma4: Run, says: Run, recording: Run, tmp_path: Path
) -> None:
    says("one", "two")
    memo, out = recording(), tmp_path / "memo.txt"
    out.write_text("mine")
    refused = gemma4("transcribe", memo, recording("b.wav"), "-o", tmp_path, "-m", "tiny")
    assert refused.status == 1 and "--force" in refused.err and "1 of 2 files failed" in refused.err
    assert (out.read_text(), (tmp_path / "b.txt").read_text()) == ("mine", "one\n")
    assert gemma4("transcribe", memo, "-o", tmp_path, "--force", "-m", "tiny").status == 0
    assert out.read_text() == "two\n"


def test_resume_leaves_out_what_is_finished(
    gemma4: Run, says: Run, loaded: list[str], recording: Run, tmp_path: Path
) -> None:
    """In a folder that its own transcripts are written to."""
    says("one", "two")
    first, folder = recording("talks/a.wav"), tmp_path / "talks"
    assert gemma4("transcribe", folder, "-o", folder, "-f", "all").status == 0
    kept = (folder / "a.txt").stat().st_mtime_ns
    recording("talks/b.wav")
    result = gemma4("transcribe", folder, "-o", folder, "-f", "all", "--resume", "-m", "tiny")
    assert result.status == 0 and "left out, for their transcripts are there: 1" in result.err
    assert f"{folder}: 2 recordings; other files left out: 5" in result.err
    assert (folder / "b.txt").read_text() == "two\n"
    assert (folder / "a.txt").stat().st_mtime_ns == kept
    loaded.clear()
    assert gemma4("transcribe", first, "-o", folder, "--resume", "-m", "tiny").status == 0
    assert loaded == []


def test_resume_writes_what_only_begun(
    gemma4: Run, says: Run, recording: Run, tmp_path: Path
) -> None:
    says("one", "two")
    memo = recording()
    gemma4("transcribe", memo, "-o", tmp_path, "-f", "txt", "-m", "tiny")
    assert gemma4("transcribe", memo, "-o", tmp_path, "-f", "all", "--resume").status == 0
    assert (tmp_path / "memo.txt").read_text() == "two\n" and (tmp_path / "memo.srt").exists()


def test_names_by_a_template(gemma4: Run, says: Run, recording: Run, tmp_path: Path) -> None:
    says("one", "two")
    (tmp_path / "in" / "deep").mkdir(parents=True)
    recording("in/a.wav"), recording("in/deep/b.wav")
    template = "{date}/{folder}/{index}-{name}-{stem}.{ext}"
    out = tmp_path / "out"
    gemma4("transcribe", tmp_path / "in", "-o", out, "--output-template", template)
    day = date.today().isoformat()
    assert names(out) == [f"{day}/1-a.wav-a.txt", f"{day}/deep/2-b.wav-b.txt"]


def test_a_template_alone_is_a_path(
    gemma4: Run, says: Run, recording: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    says("one", "two")
    monkeypatch.chdir(tmp_path)
    gemma4("transcribe", recording(), "--output-template", f"{tmp_path}/x/{{stem}}.text")
    gemma4("transcribe", recording(), "--output-template", "y.{ext}", "-m", "tiny")
    assert (tmp_path / "x" / "memo.text").read_text() == "one\n"
    assert (tmp_path / "y.txt").read_text() == "two\n"


@pytest.mark.parametrize(
    ("pair", "way_out"),
    [
        (("x/memo.wav", "y/memo.wav"), "{folder}/{stem}-{index}.{ext}"),
        (("memo.wav", "memo.flac"), "{folder}/{name}.{ext}"),
    ],
)
def test_two_that_would_be_written_to_one(
    gemma4: Run,
    says: Run,
    loaded: list[str],
    recording: Run,
    tmp_path: Path,
    pair: tuple[str, str],
    way_out: str,
) -> None:
    """It is refused, and what the error advises works."""
    says("one", "two")
    files, out = [recording(name) for name in pair], tmp_path / "out"
    result = gemma4("transcribe", *files, "-o", out)
    assert result.status == 1 and "both" in result.err and loaded == []
    assert f"--output-template '{way_out}'" in result.err
    assert gemma4("transcribe", *files, "-o", out, "--output-template", way_out).status == 0
    assert len(names(out)) == 2


def test_two_folders_with_the_same_names(
    gemma4: Run, says: Run, loaded: list[str], recording: Run, tmp_path: Path
) -> None:
    recording("x/memo.wav"), recording("y/memo.wav")
    result = gemma4("transcribe", tmp_path / "x", tmp_path / "y", "-o", tmp_path / "out")
    assert result.status == 1 and "x/memo.wav" in result.err and "y/memo.wav" in result.err
    assert len(result.err.splitlines()) == 1 and loaded == [] and not (tmp_path / "out").exists()


def test_a_recording_is_never_written_over(
    gemma4: Run, loaded: list[str], recording: Run, tmp_path: Path
) -> None:
    memo = recording()
    before = memo.read_bytes()
    name = ["-o", tmp_path, "--output-template", "{name}", "--force"]
    result = gemma4("transcribe", memo, *name)
    assert result.status == 1 and "is a recording" in result.err
    assert memo.read_bytes() == before and loaded == []


@pytest.mark.parametrize("place", ["file", "file/out", "broken", "locked", "locked/out/deep"])
def test_a_folder_that_cannot_be_written_is_noticed_at_once(
    gemma4: Run,
    loaded: list[str],
    recording: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere")
    (tmp_path / "locked").mkdir()
    locked, writing = tmp_path / "locked", os.W_OK | os.X_OK
    monkeypatch.setattr(os, "access", lambda at, mode: (Path(at), mode) != (locked, writing))
    result = gemma4("transcribe", recording(), "-o", tmp_path / place, "-m", "tiny")
    assert result.status == 1 and len(result.err.splitlines()) == 1
    assert str(tmp_path / place) in result.err and loaded == []
    assert list((tmp_path / "locked").iterdir()) == []


def test_what_stands_in_the_way_of_one_stops_no_other(
    gemma4: Run, says: Run, recording: Run, tmp_path: Path
) -> None:
    says("one")
    (tmp_path / "out" / "a.json").mkdir(parents=True)
    long = recording(f"{'x' * 251}.wav")  # 255 bytes, the most there can be; .json is one more
    files = recording("a.wav"), long, recording("b.wav")
    result = gemma4("transcribe", *files, "-o", tmp_path / "out", "-m", "tiny", "--force", "-fjson")
    assert result.status == 1 and names(tmp_path / "out") == ["b.json"]
    assert "a.json is a folder" in result.err and "too long a name" in result.err
    assert "2 of 3 files failed" in result.err


def test_the_longest_name(gemma4: Run, says: Run, recording: Run, tmp_path: Path) -> None:
    says("one")
    name = "x" * 251
    assert gemma4("transcribe", recording(f"{name}.wav"), "-o", tmp_path / "out").status == 0
    assert names(tmp_path / "out") == [f"{name}.txt"]


def test_a_disk_that_is_full(
    gemma4: Run, says: Run, recording: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file that does not fit is not there in part, and the next may fit."""
    replace = os.replace

    def full(source: str, target: Path) -> None:
        if target.name == "a.txt":
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    says("one", "two")
    a, b = recording("a.wav"), recording("b.wav")
    result = gemma4("transcribe", a, b, "-o", tmp_path / "out", "-m", "tiny")
    assert result.status == 1 and [p.name for p in (tmp_path / "out").iterdir()] == ["b.txt"]
    assert f"gemma4: {a}: No space left on device\n" in result.err
