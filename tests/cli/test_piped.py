"""An argument and stdin together, the order of media, and the answer as JSON."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gemma4_cli import piped
from gemma4_mlx.generation import session
from tests.generation.tiny_model import picture

Run = Callable[..., Any]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The messages that generate was asked to answer."""
    seen: list[Any] = []
    answer = session.ChatSession.send_messages

    def noted(self: session.ChatSession, messages: Any, *rest: Any) -> Any:
        seen.append([*self.messages, *messages])
        return answer(self, messages, *rest)

    monkeypatch.setattr(session.ChatSession, "send_messages", noted)
    return seen


@contextmanager
def stdin(content: bytes | None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A pipe with this in it; with None it stays open and empty."""
    read, write = os.pipe()
    if content is not None:
        os.write(write, content)
        os.close(write)
    with open(read, encoding="utf-8") as file:
        monkeypatch.setattr("sys.stdin", file)
        yield
    if content is None:
        os.close(write)


def test_what_is_piped_in_follows_the_prompt(
    gemma4: Run, says: Run, asked: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    says("a", "b", "c")
    with stdin(b"  the text\n", monkeypatch):
        assert gemma4("generate", "Sum up:", "-m", "tiny").out == "a\n"
    file = tmp_path / "text"
    file.write_text("in a file")
    with file.open() as opened:
        monkeypatch.setattr("sys.stdin", opened)
        gemma4("generate", "Sum up:", "-m", "tiny")
    with stdin(b"all of it", monkeypatch):
        gemma4("generate", "-m", "tiny")
    assert [messages[0]["content"] for messages in asked] == [
        *("Sum up:\n\nthe text", "Sum up:\n\nin a file", "all of it")
    ]


def test_an_open_pipe_with_nothing_in_it_is_not_waited_for_for_ever(
    gemma4: Run, says: Run, asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(piped, "_PATIENCE", 0.2)
    says("ok")
    with stdin(None, monkeypatch):
        result = gemma4("generate", "Hi", "-m", "tiny")
    assert result.out == "ok\n" and "nothing came on stdin" in result.err
    assert asked[0][0]["content"] == "Hi"


@pytest.mark.parametrize("command", [("generate", "-"), ("generate", "Hi"), ("chat",)])
def test_bytes_that_are_no_text(
    gemma4: Run, says: Run, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    says()
    with stdin(b"ab\xff\xfe", monkeypatch):
        result = gemma4(*command, "-m", "tiny")
    assert result.status == 1 and "not UTF-8" in result.err and result.err.count("\n") == 1


def test_media_are_in_the_order_they_were_given(
    gemma4: Run, says: Run, asked: list[Any], recording: Run, tmp_path: Path
) -> None:
    says("ok")
    one, two = picture(tmp_path / "1.png"), picture(tmp_path / "2.png")
    sound = recording()
    gemma4(
        *("generate", "?", "-i", one, "--audio", sound, f"--image={two}", "-m", "tiny"),
        *("--image-tokens", 70),
    )
    *media, _ = asked[0][0]["content"]
    assert [part[part["type"]] for part in media] == [one, str(sound), two]


def test_piped_chat_answers_as_json(
    gemma4: Run, says: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    says("Hello")
    monkeypatch.setattr("sys.stdin", io.StringIO("there"))
    result = gemma4("chat", "Hi", "--json", "-m", "tiny")
    answer = json.loads(result.out)
    assert (answer["text"], answer["finish_reason"], answer["tool_calls"]) == ("Hello", "stop", [])
    usage, timings = answer["usage"], answer["timings"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["generated_tokens"]
    assert timings["time_to_first_token"] >= timings["prefill_seconds"] > 0


@pytest.mark.parametrize("option", [["--continue"], ["--mic"], ["--hide-thoughts"], ["--vi"]])
def test_what_needs_a_terminal_says_so(
    gemma4: Run, says: Run, monkeypatch: pytest.MonkeyPatch, option: list[str]
) -> None:
    says()
    monkeypatch.setattr("sys.stdin", io.StringIO("Hi"))
    result = gemma4("chat", *option, "-m", "tiny")
    assert result.status == 1 and "needs a terminal" in result.err


def test_a_reader_that_has_enough(tmp_path: Path) -> None:
    """As ``head`` has: no traceback, and the status of a program whose reader has gone."""
    command = f"{sys.executable} -m gemma4_cli generate 'What can you do?' -m demo | true"
    done = subprocess.run(
        ["bash", "-c", f"{command}; exit ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 141 and done.stderr == ""


def test_without_any_input() -> None:
    """As a program that launchd or cron has started: what is opened first is not stdin."""
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m gemma4_cli generate 'Who are you?' -m demo <&-"],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "") and "demo model" in done.stdout
