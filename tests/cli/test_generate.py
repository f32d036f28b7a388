"""``gemma4 generate``."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.generation.tiny_model import picture

Run = Callable[..., Any]


def test_the_answer_alone_is_on_stdout(gemma4: Run, says: Run, loaded: list[str]) -> None:
    says("Hello 🚀")
    result = gemma4("generate", "Hi")
    assert (result.status, result.out) == (0, "Hello 🚀\n")
    assert loaded == ["demo"]
    assert result.err.count("\n") == 1 and "--model e2b" in result.err


def test_which_model_runs(
    gemma4: Run, says: Run, loaded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    says("a", "b", "c")
    monkeypatch.setenv("GEMMA4_MODEL", "mine")
    assert gemma4("generate", "Hi").err == ""
    gemma4("generate", "Hi", "--model", "yours")
    monkeypatch.setenv("GEMMA4_MODEL", "")
    gemma4("generate", "Hi")
    assert loaded == ["mine", "yours", "demo"]


def test_json(gemma4: Run, says: Run) -> None:
    says('<|channel>thought\nhm<channel|>é<|tool_call>call:f{s:<|"|>x<|"|>}<tool_call|>')
    result = gemma4("generate", "Hi", "--json", "-m", "tiny")
    answer = json.loads(result.out)
    assert answer["text"] == "é" and "é" in result.out
    assert (answer["thought"], answer["finish_reason"], answer["model"]) == (
        "hm",
        "tool_calls",
        "tiny",
    )
    assert answer["tool_calls"][0]["function"] == {"name": "f", "arguments": {"s": "x"}}
    assert answer["usage"]["generated_tokens"] > 10 and answer["timings"]["decode_tps"] > 0
    assert result.err == ""


def test_thoughts_stay_off_stdout(gemma4: Run, says: Run) -> None:
    says("<|channel>thought\nhm<channel|>Yes")
    result = gemma4("generate", "Hi", "--think", "-m", "tiny")
    assert (result.out, result.err) == ("Yes\n", "hm\n")


def test_a_reply_cut_short_is_said(gemma4: Run, says: Run) -> None:
    says("Hello there")
    result = gemma4("generate", "Hi", "--max-tokens", 5, "-m", "tiny")
    assert result.out == "Hello\n" and "after 5 tokens" in result.err


def test_dash_reads_stdin(gemma4: Run, says: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    says("ok")
    monkeypatch.setattr("sys.stdin", io.StringIO(" Hi \n"))
    assert gemma4("generate", "-").out == "ok\n"
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    result = gemma4("generate", "-")
    assert result.status == 1 and "empty" in result.err


def test_media_and_a_system_message(gemma4: Run, says: Run, recording: Run, tmp_path: Path) -> None:
    says("fine")
    image = picture(tmp_path / "a.png")
    result = gemma4(
        *("generate", "Compare.", "-i", image, "-i", image, "-a", recording(rate=8000)),
        *("-s", "Be brief.", "--image-tokens", 70, "-m", "tiny"),
    )
    assert (result.status, result.out) == (0, "fine\n")
    assert "resampled from 8000 Hz" in result.err
