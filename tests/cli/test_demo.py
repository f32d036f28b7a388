"""The commands with nothing but what the package brings: the demo model, loaded for real."""

import io
import json
from collections.abc import Callable
from typing import Any

import pytest

Run = Callable[..., Any]


def test_generate(gemma4: Run) -> None:
    result = gemma4("generate", "What is the capital of France?", "--json", "--max-tokens", 8)
    assert result.status == 0 and "built-in demo" in result.err
    assert json.loads(result.out)["usage"]["generated_tokens"] > 0


def test_chat(gemma4: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("What is the capital of France?"))
    result = gemma4("chat", "--max-tokens", 8, "--temperature", 0)
    assert result.status == 0 and result.out.endswith("\n")


def test_transcribe(gemma4: Run, recording: Run) -> None:
    result = gemma4("transcribe", recording())
    assert result.status == 0 and result.out.endswith("\n")
