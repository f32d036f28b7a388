"""What is said of a run that did not come to a good end: failures, gaps in the text, Ctrl-C."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gemma4_mlx.speech import recordings
from gemma4_mlx.speech.listening import Listener

Run = Callable[..., Any]
GOES_ON = ("one…",) * 3  # without an end, and again at two temperatures


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
    *errors, last = result.err.splitlines()
    assert last == f"gemma4: 2 of 4 files failed: {gone}, {bad}"
    assert len(errors) == 2 and str(gone) in errors[0] and str(bad) in errors[1]


def test_a_passage_that_the_model_could_not_finish(gemma4: Run, says: Run, recording: Run) -> None:
    says(*GOES_ON)
    memo = recording()
    result = gemma4("transcribe", memo, "-m", "tiny")
    assert (result.status, result.out) == (1, "one […]\n")
    passage, notice = result.err.splitlines()
    assert passage.startswith(f"gemma4: {memo}: 0:00.0 to 0:01.0: the model did not come to an end")
    assert notice == (
        f"gemma4: {memo}: passages that the model could not finish, marked as incomplete: 1 of 1"
    )


@pytest.mark.parametrize("form", ["txt", "srt", "vtt", "tsv"])
def test_it_is_marked_in_every_format(
    gemma4: Run, says: Run, recording: Run, tmp_path: Path, form: str
) -> None:
    says(*GOES_ON, "two", "three")
    files = recording("a.wav"), recording("b.wav", 39)
    result = gemma4("transcribe", *files, "-f", form, "-o", tmp_path, "--batch-size", "1")
    assert result.status == 1
    assert "one […]" in (tmp_path / f"a.{form}").read_text()
    assert "[…]" not in (tmp_path / f"b.{form}").read_text()
    assert result.err.splitlines()[-1] == f"gemma4: 1 of 2 files incomplete: {files[0]}"


def test_it_is_marked_in_json(gemma4: Run, says: Run, recording: Run) -> None:
    says(*GOES_ON)
    answer = json.loads(gemma4("transcribe", recording(), "-f", "json").out)
    assert answer["segments"][0]["incomplete"] is True and answer["text"] == "one"


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Presses Ctrl-C when so many windows have been heard."""

    hear = Listener.hear

    def after(count: int) -> None:
        def heard(self: Listener, windows: Any) -> Iterator[Any]:
            for number, found in enumerate(hear(self, windows)):
                if number == count:
                    raise KeyboardInterrupt
                yield found

        monkeypatch.setattr(recordings.Listener, "hear", heard)

    return after


def test_ctrl_c_keeps_whole_files(
    gemma4: Run, says: Run, recording: Run, tmp_path: Path, interrupted: Run
) -> None:
    says("one", "two", "three", "four", "five")
    a, b = recording("a.wav"), recording("b.wav", 60)
    interrupted(2)
    out, bad = tmp_path / "out", tmp_path / "0.wav"
    bad.write_text("no recording")
    result = gemma4("transcribe", bad, a, b, "-o", out, "-f", "all", "-m", "tiny")
    assert result.status == 130
    assert sorted(path.name for path in out.iterdir()) == [
        f"a.{ext}" for ext in ("json", "srt", "tsv", "txt", "vtt")
    ]
    assert result.err.splitlines()[-1] == (
        f"gemma4: stopped at 0:19.0 of {b}; 1 of 3 files written, --resume goes on with the rest"
    )
    interrupted(99)
    says("two", "three", "four")
    again = gemma4("transcribe", a, b, "-o", out, "-f", "all", "--resume", "-m", "tiny")
    assert again.status == 0 and (out / "b.txt").exists()


def test_ctrl_c_ends_the_line(gemma4: Run, says: Run, recording: Run, interrupted: Run) -> None:
    says("one", "two", "three")
    memo = recording(seconds=60)
    interrupted(2)
    result = gemma4("transcribe", memo, "--start", "1", "-m", "tiny")
    assert (result.status, result.out) == (130, "one two\n")
    assert result.err == f"gemma4: stopped at 0:39.0 of {memo}\n"
