"""``gemma4 chat``: line by line with a scripted keyboard, and piped."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.generation.tiny_model import picture

Run = Callable[..., Any]


def test_several_turns_on_one_cache(
    gemma4: Run, says: Run, types: Run, sessions: list[Any]
) -> None:
    says("Hello there", "Fine")
    types("Hi", "", "How are you?")
    result = gemma4("chat", "-m", "tiny", "-s", "Be brief.")
    assert result.status == 0
    assert "Hello there\nFine\n" in result.out
    assert [m["role"] for m in sessions[0].messages] == ["system", *["user", "assistant"] * 2]
    total = sessions[0].processor(sessions[0].messages[:-1])["input_ids"].size
    assert sessions[0].prefilled_tokens < total - 10


def test_commands(gemma4: Run, says: Run, types: Run, sessions: list[Any], tmp_path: Path) -> None:
    says("red", "forgotten", "ok")
    path = picture(tmp_path / "a b.png")
    prompts = types(
        *("/help", f"/image '{path}'", "What is it?", "/clear", "Hi"),
        *("/nonsense", "/image", "/image none.png", "/etc/hosts is a path", "/exit", "unread"),
    )
    result = gemma4("chat", "-m", "tiny", "--image-tokens", 70)
    assert result.status == 0 and "/clear" in result.out
    assert prompts[2].startswith("[a b.png]") and not prompts[3].startswith("[")
    assert [m["content"] for m in sessions[0].messages] == [
        *("Hi", "forgotten", "/etc/hosts is a path", "ok")
    ]
    attached, *errors = (line for line in result.err.splitlines() if "forgotten" not in line)
    assert "a b.png: 64 × 48" in attached and "tokens" in attached and len(errors) == 3
    assert "/nonsense" in errors[0] and "path" in errors[1] and "none.png" in errors[2]


def test_media_of_the_command_line_go_with_the_first_message(
    gemma4: Run, says: Run, types: Run, sessions: list[Any], recording: Run, tmp_path: Path
) -> None:
    says("a", "b")
    types("What is this?", "And now?")
    gemma4(
        *("chat", "-i", picture(tmp_path / "a.png"), "-a", recording()),
        *("--image-tokens", 70, "-m", "tiny"),
    )
    first, second = (m["content"] for m in sessions[0].messages if m["role"] == "user")
    assert [part["type"] for part in first] == ["image", "audio", "text"]
    assert second == "And now?"


def test_a_bad_picture_does_not_end_the_conversation(
    gemma4: Run, says: Run, types: Run, sessions: list[Any], tmp_path: Path
) -> None:
    says("ok")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    types(f"/image {tmp_path / 'bad.png'}", f"What is {tmp_path / 'bad.png'}", "Hi")
    result = gemma4("chat", "-m", "tiny")
    assert result.status == 0 and result.err.count("bad.png") == 2
    assert [m["content"] for m in sessions[0].messages] == ["Hi", "ok"]


def test_ctrl_c_stops_the_reply_and_keeps_what_came(
    gemma4: Run, says: Run, types: Run, sessions: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    says("Hello there", "ok")
    types("Hi", "Go on")
    from gemma4_cli.chat.reply.reply_view import ReplyView

    take = ReplyView.take

    def interrupt_once(view: ReplyView, chunk: Any) -> None:
        take(view, chunk)
        if chunk.text == "H":
            raise KeyboardInterrupt

    monkeypatch.setattr(ReplyView, "take", interrupt_once)
    result = gemma4("chat", "-m", "tiny")
    assert result.status == 0 and "what came is kept" in result.err
    assert [m["content"] for m in sessions[0].messages] == ["Hi", "H", "Go on", "ok"]


def test_ctrl_c_twice_at_the_prompt_leaves(gemma4: Run, says: Run, types: Run) -> None:
    says("ok")
    types(KeyboardInterrupt, "Hi", KeyboardInterrupt, KeyboardInterrupt, "unread")
    result = gemma4("chat", "-m", "tiny")
    assert result.status == 130 and "ok" in result.out


def test_piped_input_is_answered_once(
    gemma4: Run, says: Run, sessions: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    says("Hello 🚀")
    monkeypatch.setattr("sys.stdin", io.StringIO("Hi\nthere\n"))
    result = gemma4("chat", "-m", "tiny")
    assert (result.status, result.out, result.err) == (0, "Hello 🚀\n", "")
    assert sessions[0].messages[0]["content"] == "Hi\nthere"


def test_piped_nothing(gemma4: Run, loaded: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(" \n"))
    result = gemma4("chat")
    assert result.status == 1 and "empty" in result.err and loaded == []
