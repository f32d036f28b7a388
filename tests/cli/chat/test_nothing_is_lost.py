"""Messages that are not sent, replies that are broken off: what was there is there afterwards."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gemma4_cli.chat import context
from gemma4_mlx import loading
from gemma4_mlx.generation.session import ChatSession
from tests.cli.conftest import TOKENIZER
from tests.generation.tiny_model import picture, tiny_model

Run = Callable[..., Any]


@pytest.fixture
def talk(gemma4: Run, says: Run, types: Run, sessions: list[Any]) -> Run:
    """Runs a chat: the model's replies, and then the lines typed; gives the prompts too."""

    def run(replies: list[str], *lines: Any, options: tuple[Any, ...] = ()) -> Any:
        says(*replies)
        prompts = types(*lines)
        result = gemma4("chat", "-m", "tiny", *options)
        assert result.status == 0, result.err
        return result, prompts

    return run


def interrupt_once(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Ctrl-C when this method of a session is first called."""
    method = getattr(ChatSession, name)
    left = [True]

    def interrupted(self: Any, *args: Any, **kwargs: Any) -> Any:
        if left:
            left.pop()
            raise KeyboardInterrupt
        return method(self, *args, **kwargs)

    monkeypatch.setattr(ChatSession, name, interrupted)


def small(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(
        loading, "load", lambda *_: tiny_model("e2b", TOKENIZER, max_position_embeddings=limit)
    )


@pytest.mark.parametrize("method", ["send_messages", "prompt_tokens"])
def test_a_message_interrupted_before_its_reply(
    talk: Run, sessions: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, method: str
) -> None:
    """What waited goes on waiting; the files of the line itself are named by the line."""
    one, two = picture(tmp_path / "1.png"), picture(tmp_path / "2.png", "blue")
    interrupt_once(monkeypatch, method)
    result, prompts = talk(
        ["two pictures"],
        *(f"/image {one}", f"{two} and?", f"{two} and?"),
        options=("--image-tokens", 70),
    )
    assert prompts[1:3] == ["[1.png] > ", "[1.png] > "]
    assert "stopped\n" in result.err and "what came" not in result.err
    (content,) = (m["content"] for m in sessions[0].messages if m["role"] == "user")
    assert [part["type"] for part in content] == ["image", "image", "text"]


def test_turns_that_made_room_come_back_when_nothing_is_sent(
    talk: Run, sessions: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    small(monkeypatch, 240)
    kept: list[int] = []
    generate = context._summary

    def interrupted(*args: Any) -> str:
        kept.append(1)
        if len(kept) == 1:
            raise KeyboardInterrupt
        return generate(*args)

    monkeypatch.setattr(context, "_summary", interrupted)
    talk(["one", "two", "ok"], "a" * 60, "b" * 60, "c" * 60, "s", "d")
    contents = [message["content"] for message in sessions[0].messages]
    assert contents == ["a" * 60, "one", "b" * 60, "two", "d", "ok"]


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Adds a long text to the message."""
    script = tmp_path / "edit.py"
    script.write_text("import sys; open(sys.argv[1], 'a').write('z' * 60)")
    monkeypatch.setenv("VISUAL", f"{sys.executable} {script}")


def test_an_edited_message_that_needs_room(
    talk: Run, sessions: list[Any], monkeypatch: pytest.MonkeyPatch, editor: None
) -> None:
    small(monkeypatch, 240)
    talk(["one", "two", "new"], "a" * 60, "b" * 50, "/edit", "d")
    contents = [message["content"] for message in sessions[0].messages]
    assert contents == ["b" * 50 + "z" * 60, "new"]


def test_an_edited_message_that_is_not_sent(
    talk: Run, sessions: list[Any], monkeypatch: pytest.MonkeyPatch, editor: None
) -> None:
    small(monkeypatch, 240)
    result, _ = talk(["one", "two"], "a" * 60, "b" * 50, "/edit", "c")
    contents = [message["content"] for message in sessions[0].messages]
    assert contents == ["a" * 60, "one", "b" * 50, "two"]
    assert "as they were" in result.err


def test_clearing_forgets_a_summary_and_another_system_message_does_not(
    talk: Run, sessions: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    small(monkeypatch, 800)
    result, _ = talk(
        ["one", "two", "They said a.", "three"],
        *("a" * 150, "b" * 150, "c" * 280, "s", "/system Be kind.", "/system", "/clear", "/system"),
        options=("-s", "Be brief."),
    )
    shown = [line for line in result.out.splitlines() if "Be" in line or "said" in line]
    assert shown == [
        *("Be kind.", "What was said earlier in this conversation: They said a.", "Be kind.")
    ]


def test_a_result_too_long_for_the_context(
    talk: Run, sessions: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The model is told, and every call has an answer whatever happens."""
    small(monkeypatch, 600)
    tool = tmp_path / "tool.py"
    tool.write_text("def f() -> str:\n    'Give much.'\n    return 'much ' * 2000\n")
    call = "<|tool_call>call:f{}<tool_call|><|tool_response>"
    result, _ = talk(
        [call, "sorry", call], *("Hi", "Again"), options=("--tool", tool, "--yes-tools")
    )
    assert "too long for what is left of the context" in result.err
    contents = [m["content"] for m in sessions[0].messages if m["role"] == "tool"]
    assert "too long" in contents[0]
    assert [m["role"] for m in sessions[0].messages[:4]] == [
        "user",
        "assistant",
        "tool",
        "assistant",
    ]


def test_a_call_without_an_answer_gets_one(talk: Run, sessions: list[Any], tmp_path: Path) -> None:
    call = "<|tool_call>call:f{}<tool_call|><|tool_response>"
    result, _ = talk([call, "fine"], "Hi", "Never mind")
    assert "there is none without --tool" in result.err
    assert [m["role"][0] for m in sessions[0].messages] == list("uatua")
    assert json.loads(sessions[0].messages[2]["content"]) == {"error": "not run"}


def test_options_count_for_more_than_what_was_kept(
    talk: Run, gemma4: Run, types: Run, says: Run, sessions: list[Any], tmp_path: Path
) -> None:
    path = picture(tmp_path / "a.png", size=(800, 600))
    talk(["red"], f"{path} ?", options=("--image-tokens", 70, "-s", "Be brief."))
    before = sessions[0].prompt_tokens()
    says("still red")
    types("Sure?")
    options = ("--continue", "--think", "--image-tokens", 1120, "-s", "Be kind.")
    assert gemma4("chat", *options).status == 0
    assert sessions[1].enable_thinking and sessions[1].system == "Be kind."
    assert sessions[1].prompt_tokens() < before + 60  # the picture is seen as it was


def test_what_was_taken_back_does_not_come_back(
    talk: Run, gemma4: Run, types: Run, says: Run, state: Path
) -> None:
    talk(["Hello"], "a secret", "/undo")
    assert not list((state / "sessions").glob("*.json"))
    says()
    types()
    assert gemma4("chat", "--continue").status == 1


def test_what_waits_can_be_taken_away(talk: Run, sessions: list[Any], tmp_path: Path) -> None:
    talk(["ok"], f"/image {picture(tmp_path / 'a.png')}", "/undo", "Hi")
    assert sessions[0].messages[0]["content"] == "Hi"


def test_a_model_that_cannot_hear_what_waits(talk: Run, recording: Run) -> None:
    result, _ = talk([], f"/audio {recording()}", "/model 31b")
    assert "audio" in result.err.splitlines()[-1] and "31b goes on" not in result.err


@pytest.mark.parametrize("line", ["/save ~nobody9/x", "/export ~nobody9/x", "/load file:///a%00b"])
def test_odd_names_do_not_end_the_chat(talk: Run, sessions: list[Any], line: str) -> None:
    result, _ = talk(["Hello", "ok"], "Hi", line, "Go on")
    assert "this is a bug" not in result.err and len(sessions[0].messages) == 4


def test_what_nobody_foresaw_does_not_end_the_chat(
    talk: Run, sessions: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    undo = ChatSession.undo

    def broken(self: Any) -> Any:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(ChatSession, "undo", broken)
    result, _ = talk(["Hello", "ok"], "Hi", "/undo", "Go on")
    assert "out of memory" in result.err and len(sessions[0].messages) == 4
    assert undo is not ChatSession.undo


def test_a_quoted_command_is_a_message(talk: Run, sessions: list[Any]) -> None:
    talk(["ok"], '"""/undo is a command"""')
    assert sessions[0].messages[0]["content"] == "/undo is a command"


def test_a_result_that_the_model_has_not_read_stays(
    talk: Run, sessions: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Ctrl-C while the results are being read: they are in the history all the same."""
    tool = tmp_path / "tool.py"
    tool.write_text("def f() -> str:\n    'Tell.'\n    return 'noon'\n")
    send, calls = ChatSession.send_messages, [True]

    def interrupted(self: Any, messages: Any, *rest: Any) -> Any:
        if calls and messages[0]["role"] == "tool":
            calls.pop()
            raise KeyboardInterrupt
        return send(self, messages, *rest)

    monkeypatch.setattr(ChatSession, "send_messages", interrupted)
    call = "<|tool_call>call:f{}<tool_call|><|tool_response>"
    talk([call, "fine"], "Hi", "And?", options=("--tool", tool, "--yes-tools"))
    messages = sessions[0].messages
    assert [m["role"][0] for m in messages] == list("uatua") and messages[2]["content"] == "noon"
