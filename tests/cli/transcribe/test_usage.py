"""Wrong usage of ``gemma4 transcribe`` ends with 2 before anything is read or loaded; help."""

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

Run = Callable[..., Any]

WRONG = {
    "": "--mic",
    "{memo} --mic": "not both",
    "--mic --start 5": "not for --mic",
    "--mic --end 5": "not for --mic",
    "--mic --batch-size 2": "not for --mic",
    "--mic -o {out} --resume": "not for --mic",
    "{memo} --format mp3": "mp3",
    "{memo} --format all": "--output-dir",
    "{memo} --resume": "--output-dir",
    "{memo} -o {out} --resume --force": "give one",
    "{memo} {other} --format srt": "--output-dir",
    "{memo} --max-line-width 3 -f srt": "greater than or equal to 4",
    "{memo} --max-line-width 40": "for subtitles",
    "{memo} --max-line-count 2 -f srt": "--max-line-width",
    "{memo} --start 5 --end 5": "is not after --start (5 s)",
    "{memo} --start 1:00 --end 50": "is not after --start (60 s)",
    "{memo} --start soon": "is no time",
    "{memo} --start -5": "is no time",
    "{memo} --start 1:75": "is no time",
    "{memo} --batch-size 0": "greater than or equal to 1",
    "{memo} --window 0.5": "greater than or equal to 1",
    "{memo} --window nan": "greater than or equal to 1",
    "{memo} --output-template {{stem": "--output-template",
    "{memo} --output-template {{size}}": "{{size}}",
    "{memo} --output-template {{}}": "{{}}",
    "{memo} --output-template {{stem!r}}": "without : or !",
    "{memo} --output-template {{index:03}}": "without : or !",
    "{memo} --output-template {{stem}}/": "a folder",
    "{memo} -f all --output-template {{stem}}": "{{ext}}",
    "{memo} -o {out} --output-template ../{{stem}}": "leads out of --output-dir",
    "{memo} -o {out} --output-template /{{stem}}": "leads out of --output-dir",
}


@pytest.mark.parametrize("line", WRONG)
def test_wrong_usage(
    gemma4: Run, loaded: list[str], recording: Run, tmp_path: Any, line: str
) -> None:
    places = {"memo": recording(), "other": recording("b.wav"), "out": tmp_path / "out"}
    result = gemma4("transcribe", *(part.format(**places) for part in line.split()))
    words = " ".join(result.err.replace("│", " ").split())
    assert result.status == 2 and WRONG[line].format() in words, words
    assert result.out == "" and loaded == [] and not (tmp_path / "out").exists()


def test_what_is_piped_in_when_nothing_is(
    gemma4: Run, loaded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    result = gemma4("transcribe", "-")
    assert result.status == 2 and "nothing is" in result.err and loaded == []


def test_an_unknown_language_is_an_error_in_one_line(
    gemma4: Run, loaded: list[str], recording: Run
) -> None:
    result = gemma4("transcribe", recording(), "--translate-to", "klingon")
    assert result.status == 1 and len(result.err.splitlines()) == 1 and loaded == []
    assert "klingon" in result.err


def test_a_model_that_cannot_hear(gemma4: Run, says: Run, recording: Run) -> None:
    result = gemma4("transcribe", recording(), "-m", "31b")
    assert result.status == 1 and "no audio tower" in result.err


def test_help_says_what_times_are(gemma4: Run) -> None:
    result = gemma4("transcribe", "--help")
    words = " ".join(result.out.split())
    assert result.status == 0
    assert "Times are those of segments" in words and "single words have none" in words
    for option in ("--mic", "--language", "--translate-to", "--prompt", "--format", "--resume"):
        assert option in words
    for option in ("--output-dir", "--output-template", "--max-line-width", "--max-line-count"):
        assert option in words
    assert "--start" in words and "--end" in words and "txt|srt|vtt|tsv|json|all" in words


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--prompt", "Ada"], True),
        (["--translate-to", "German"], True),
        (["--language", "fr"], True),
        (["--language", "en"], False),
        ([], False),
    ],
)
def test_the_demo_takes_no_instructions(
    gemma4: Run, says: Run, recording: Run, options: list[str], told: bool
) -> None:
    for model in ("demo", "tiny"):
        says("one")
        result = gemma4("transcribe", recording(), "-m", model, *options)
        assert result.status == 0 and "one" in result.out
        assert ("the demo model" in result.err) == (told and model == "demo")
