"""``gemma4 transcribe`` without --output-dir: the text, and nothing else, on stdout."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gemma4_mlx.speech.listening import Listener

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


def test_one_of_two_that_is_there_has_its_header_too(
    gemma4: Run, says: Run, recording: Run, tmp_path: Path
) -> None:
    """What reads stdout need not know which were missing."""
    says("one")
    a = recording("a.wav")
    assert gemma4("transcribe", a, tmp_path / "gone.wav").out == f"== {a}\none\n"


def test_json_lines(gemma4: Run, says: Run, recording: Run) -> None:
    says("one", "two", "three")
    result = gemma4("transcribe", recording("a.wav"), recording("b.wav", 39), "-f", "json")
    first, second = map(json.loads, result.out.splitlines())
    assert (first["text"], second["text"]) == ("one", "two three")
    assert [s["text"] for s in second["segments"]] == ["two", "three"]
    assert [(s["start"], s["end"]) for s in second["segments"]] == [(0, 19), (20, 39)]


def test_subtitles_of_one_recording(gemma4: Run, says: Run, recording: Run) -> None:
    says("one two three four")
    result = gemma4("transcribe", recording(), "-f", "srt", "--max-line-width", "9")
    assert result.out == "1\n00:00:00,000 --> 00:00:01,000\none two\nthree\nfour\n\n"


def test_a_subtitle_of_too_many_lines_is_cut(gemma4: Run, says: Run, recording: Run) -> None:
    says("one two three four")
    limits = ["--max-line-width", "9", "--max-line-count", "1"]
    result = gemma4("transcribe", recording(), "-f", "vtt", *limits)
    assert result.out.count(" --> ") == 3 and "\none two\n\n" in result.out


def test_a_part_keeps_the_times_of_the_whole(gemma4: Run, says: Run, recording: Run) -> None:
    says("two")
    result = gemma4("transcribe", recording(seconds=40), "--start", "0:22", "--end", "30", "-fjson")
    answer = json.loads(result.out)
    assert [(s["start"], s["end"]) for s in answer["segments"]] == [(22, 30)]


def test_translation(gemma4: Run, says: Run, recording: Run) -> None:
    says("eins\nEnglish: one")
    result = gemma4("transcribe", recording(), "-l", "de", "--translate-to", "en", "-f", "json")
    answer = json.loads(result.out)
    assert (answer["text"], answer["segments"][0]["source"]) == ("one", "eins")
    assert (answer["language"], answer["translate_to"]) == ("German", "English")


def test_names_and_their_spelling_are_told(
    gemma4: Run, says: Run, recording: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    made = Listener.__init__

    def make(self: Listener, model: Any, processor: Any, prompt: str, **settings: Any) -> None:
        asked.append((prompt, settings["batch_size"]))
        made(self, model, processor, prompt, **settings)

    monkeypatch.setattr(Listener, "__init__", make)
    says("one")
    gemma4("transcribe", recording(), "--prompt", "Xochitl, RoPE", "--batch-size", "3")
    ((prompt, batch_size),) = asked
    assert "Xochitl, RoPE" in prompt and batch_size == 3


def test_windows_of_a_length(gemma4: Run, says: Run, recording: Run) -> None:
    says("one", "two", "three")
    result = gemma4("transcribe", recording(seconds=10), "--window", "5", "-f", "json")
    ends = [s["end"] for s in json.loads(result.out)["segments"]]
    assert len(ends) == 3 and ends[0] <= 5


def test_what_is_piped_in(
    gemma4: Run, says: Run, recording: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    stdin = SimpleNamespace(buffer=io.BytesIO(recording().read_bytes()), isatty=lambda: False)
    monkeypatch.setattr(sys, "stdin", stdin)
    says("one")
    result = gemma4("transcribe", "-", "-", "-f", "json")
    assert json.loads(result.out)["file"] == "stdin" and result.status == 0
    assert "stdin: named twice, heard once" in result.err


@pytest.mark.parametrize("content", [b"", b"no recording"])
def test_what_is_piped_in_and_no_recording(
    gemma4: Run, loaded: list[str], monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    stdin = SimpleNamespace(buffer=io.BytesIO(content), isatty=lambda: False)
    monkeypatch.setattr(sys, "stdin", stdin)
    result = gemma4("transcribe", "-", "-m", "tiny")
    assert result.status == 1 and result.out == ""
    (line,) = result.err.splitlines()
    assert "stdin" in line and bool(loaded) == bool(content)
