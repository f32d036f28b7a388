"""A conversation that comes near the end of the model's context."""

from collections.abc import Callable
from typing import Any

import pytest

from gemma4_mlx import loading
from gemma4_mlx.generation import session as session_module
from gemma4_mlx.generation.session import ChatSession
from tests.cli.conftest import TOKENIZER
from tests.generation.tiny_model import tiny_model

Run = Callable[..., Any]
LIMIT = 240


@pytest.fixture
def small(gemma4: Run, says: Run, types: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A chat with a model whose context is small."""

    def run(replies: list[str], *lines: str, limit: int = LIMIT) -> Any:
        monkeypatch.setattr(
            loading, "load", lambda *_: tiny_model("e2b", TOKENIZER, max_position_embeddings=limit)
        )
        says(*replies)
        types(*lines)
        result = gemma4("chat", "-m", "tiny", "-s", "Be brief.")
        assert result.status == 0
        return result

    return run


def said(session: Any) -> list[str]:
    return [message["content"] for message in session.messages]


def test_the_oldest_turns_go_when_the_user_says_so(small: Run, sessions: list[Any]) -> None:
    result = small(["one", "two", "three"], "a" * 60, "b" * 60, "c" * 60, "d")
    assert "reply not counted" in result.err and "2 oldest turns have gone" in result.err
    assert said(sessions[0]) == ["Be brief.", "c" * 60, "three"]


def test_nothing_is_sent_unless_the_user_says_so(small: Run, sessions: list[Any]) -> None:
    small(["one", "two", "ok"], "a" * 60, "b" * 60, "c" * 60, "c", "d")
    assert said(sessions[0])[1:] == ["a" * 60, "one", "b" * 60, "two", "d", "ok"]


def test_the_oldest_turns_are_summed_up(small: Run, sessions: list[Any]) -> None:
    """The summary joins the system message; the next one replaces it, having read it."""
    result = small(
        ["one", "two", "They said a.", "three", "They said b.", "four"],
        *("a" * 150, "b" * 150, "c" * 280, "s", "d" * 300, "s"),
        limit=800,
    )
    assert "gone" in result.err and "no summary" not in result.err
    system, *rest = said(sessions[0])
    assert system.startswith("Be brief.") and system.endswith("They said b.")
    assert "They said a." not in system
    assert rest == ["d" * 300, "four"]


def test_it_is_said_in_time_and_once(small: Run) -> None:
    result = small(["x" * 60, "y" * 115, "z"], "a", "b", "/undo", "c")
    assert result.err.count("soon its oldest turns must go") == 1
    assert "fills 2" in result.err


def test_a_message_too_long_by_itself(small: Run, sessions: list[Any]) -> None:
    result = small(["ok", "fine"], "a" * 400, "Hi", "b" * 400, "d", "So?")
    assert result.err.count("shorten it") == 2
    assert said(sessions[0])[1:] == ["Hi", "ok", "So?", "fine"]


def test_a_reply_that_fills_the_context(small: Run) -> None:
    result = small(["long " * 60], "Hi")
    assert "the context is full" in result.err


def test_a_turn_too_long_to_be_summed_up(small: Run, sessions: list[Any]) -> None:
    """There is no summary of nothing, and that is said."""
    result = small(["y" * 85, "two"], "x" * 60, "d" * 60, "s")
    assert "no summary" in result.err and "has gone" in result.err
    assert said(sessions[0]) == ["Be brief.", "d" * 60, "two"]


def test_turns_that_a_summary_leaves_out(small: Run, sessions: list[Any]) -> None:
    result = small(
        ["one", "two", "They said b.", "three"],
        *("a" * 100, "b" * 100, "c" * 60, "s"),
        limit=400,
    )
    assert "the summary leaves out the oldest turn," in result.err
    system, *rest = said(sessions[0])
    assert system.endswith("They said b.") and rest == ["c" * 60, "three"]


def test_room_is_counted_after_a_reply_that_was_stopped(
    small: Run, sessions: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its text is in the conversation; the cache, where Ctrl-C may have cut a step, lacks it."""
    take = session_module._Reply.take
    chunks = []

    def stopped(reply: Any, chunk: Any) -> None:
        take(reply, chunk)
        chunks.append(chunk)
        if len(chunks) == 90:
            raise KeyboardInterrupt

    monkeypatch.setattr(session_module._Reply, "take", stopped)
    result = small(["y" * 100, "two"], "a" * 40, "b" * 30, "d")
    assert "what came is kept" in result.err and "reply not counted" in result.err
    assert said(sessions[0])[1:] == ["b" * 30, "two"]


def test_room_is_counted_after_a_retry_that_was_stopped(
    small: Run, sessions: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old reply stays, and the cache lacks it."""
    read_reply = session_module.read_reply

    def interrupt(*_args: Any, **_settings: Any) -> None:
        monkeypatch.setattr(session_module, "read_reply", read_reply)
        raise KeyboardInterrupt

    def retry(session: ChatSession, *given: Any) -> Any:
        monkeypatch.setattr(session_module, "read_reply", interrupt)
        return again(session, *given)

    again = ChatSession.retry
    monkeypatch.setattr(ChatSession, "retry", retry)
    result = small(["y" * 90, "two"], "a" * 40, "/retry", "b" * 30, "d")
    assert "stopped" in result.err and "reply not counted" in result.err
    assert said(sessions[0])[1:] == ["b" * 30, "two"]
