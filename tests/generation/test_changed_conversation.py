"""Taking back, answering again, another system message: what is read again, and what is not.

The logits are compared with those of the whole conversation read at once, as in test_session.py.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from gemma4_mlx.errors import InputError
from gemma4_mlx.generation import prefix_cache
from gemma4_mlx.generation import session as session_module
from gemma4_mlx.generation.session import ChatSession
from gemma4_mlx.processing.tokenizer import Tokenizer

from .test_session import FAMILIES, Talk, texts
from .tiny_model import picture


@pytest.fixture
def patch(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    return lambda sampler: monkeypatch.setattr(
        session_module, "make_sampler", lambda *_args, **_kwargs: sampler
    )


@pytest.fixture(params=FAMILIES)
def talk(
    request: pytest.FixtureRequest, tokenizer: Tokenizer, patch: Callable[[Any], None]
) -> Talk:
    return Talk(request.param, tokenizer, patch)


def roles(session: ChatSession) -> str:
    return "".join(str(message["role"])[0] for message in session.messages)


def test_undo_reads_the_last_reply_and_the_new_turn(talk: Talk) -> None:
    """Not what stands before the last turn that is left."""
    talk.turn("A first question, " * 8, "an answer")
    talk.turn("A second question", "another answer")
    before_third = talk.prompt_length(talk.session.messages)
    talk.turn("A third question", "nonsense")
    taken = talk.session.undo()
    assert [m["role"] for m in taken] == ["user", "assistant"] and roles(talk.session) == "uaua"
    talk.turn("A better question", "fine")
    total = talk.prompt_length(talk.session.messages[:-1])
    start_of_second_reply = talk.prompt_length(talk.session.messages[:3])
    cue = len(talk.tokenizer.encode("<|turn>model\n<|channel>thought\n<channel|>"))
    assert talk.session.prefilled_tokens <= total - start_of_second_reply + cue
    assert talk.session.prefilled_tokens >= total - before_third
    talk.session.undo()
    talk.session.undo()
    talk.turn("Once more", "yes")
    assert talk.session.prefilled_tokens < talk.prompt_length(talk.session.messages[:-1]) / 2


def test_retry_reads_the_cue_alone(talk: Talk) -> None:
    talk.turn("A first question", "an answer")
    talk.turn("A second question, " * 5, "nonsense")
    talk.answer("a better answer")
    assert texts(list(talk.session.retry())) == "a better answer"
    talk.check_logits()
    assert talk.session.prefilled_tokens < 20
    assert [m["content"] for m in talk.session.messages[1::2]] == ["an answer", "a better answer"]


def test_a_retry_that_fails_leaves_the_old_reply(talk: Talk) -> None:
    talk.turn("A question", "an answer")

    def broken(logits: mx.array) -> mx.array:
        raise RuntimeError("out of memory")

    talk.patch(broken)
    with pytest.raises(RuntimeError):
        list(talk.session.retry())
    assert [m["content"] for m in talk.session.messages] == ["A question", "an answer"]
    talk.turn("Go on", "ok")


def test_undo_takes_a_tool_exchange_as_a_whole(talk: Talk) -> None:
    talk.turn("Hi", "Hello")
    talk.turn("What time?", "<|tool_call>call:time{}<tool_call|>", end="<|tool_response>")
    talk.turn([{"role": "tool", "tool_call_id": "call_1", "content": "noon"}], "It is noon.")
    assert [m["role"] for m in talk.session.undo()] == ["user", "assistant", "tool", "assistant"]
    talk.turn("Bye", "Bye")


def test_everything_is_read_only_when_no_snapshot_is_left(
    talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefix_cache, "_KEPT", 2)
    for number in range(4):
        talk.turn(f"Question {number}", "an answer")
    read = []
    for _ in range(3):
        talk.session.undo()
        talk.turn("Another", "answer")
        talk.session.undo()
        total = talk.prompt_length([*talk.session.messages, {"role": "user", "content": "Another"}])
        read.append(talk.session.prefilled_tokens == total)
    assert read == [False, True, True]  # what begins before both snapshots is read whole


def test_large_snapshots_are_fewer(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefix_cache, "_KEPT_BYTES", 1)
    for number in range(3):
        talk.turn(f"Question {number}", "an answer")
    marks = talk.session._prefix._marks
    assert len(marks) == 1 and marks[0].snapshot.nbytes > 1
    talk.answer("again")
    list(talk.session.retry())
    assert talk.session.prefilled_tokens < 20


def test_another_system_message(talk: Talk) -> None:
    session = talk.session
    assert session.system is None
    talk.turn("Hi", "Hello")
    session.system = "Be brief."
    assert (session.system, roles(session)) == ("Be brief.", "sua")
    talk.turn("And?", "Yes")
    assert session.prefilled_tokens == talk.prompt_length(session.messages[:-1])
    session.system = "Be kind."
    session.system = None
    assert roles(session) == "uaua"
    talk.turn("And now?", "No")


def test_settings_may_change_between_turns(tokenizer: Tokenizer) -> None:
    """Sampling for real: a seed gives the same reply, another temperature another one."""
    from .tiny_model import tiny_model

    model, processor = tiny_model("e2b", tokenizer)

    def reply(session: ChatSession) -> str:
        return "".join(c.text + "".join(map(str, c.token_ids)) for c in session.send("Hi"))

    session = ChatSession(model, processor, temperature=1.0, seed=3, max_tokens=8)
    first = reply(session)
    session.clear()
    session.sample_with(temperature=1.0, seed=4)
    other = reply(session)
    session.clear()
    session.sample_with(temperature=1.0, seed=3)
    assert reply(session) == first != other
    with pytest.raises(InputError, match="temperature"):
        session.sample_with(temperature=-1.0)
    session.clear()
    assert reply(session) == first  # the refused setting has changed nothing


def test_nothing_to_take_back(talk: Talk) -> None:
    assert talk.session.undo() == []
    with pytest.raises(InputError, match="no message"):
        talk.session.retry()


def test_tokens_are_counted_beyond_the_context(
    tokenizer: Tokenizer, patch: Callable[[Any], None]
) -> None:
    talk = Talk("e2b", tokenizer, patch, max_position_embeddings=60)
    talk.turn("Hi", "Hello")
    inputs = talk.prompt_length(talk.session.messages)
    assert talk.session.prompt_tokens() == inputs
    message = {"role": "user", "content": "x" * 100}
    assert talk.session.prompt_tokens([message]) > 100
    assert len(talk.session.messages) == 2


def test_pictures_keep_their_own_budget_and_their_origin(talk: Talk, tmp_path: Path) -> None:
    """A budget changed later touches no earlier picture: nothing of it is read or seen again."""
    path = picture(tmp_path / "a.png", size=(400, 300))
    origin = {"path": path, "sha256": "0" * 64}
    parts = [{"type": "image", "image": path, "max_soft_tokens": 140, "file": origin}]
    talk.turn([*parts, {"type": "text", "text": "?"}], "red")
    held = talk.session.messages[0]["content"][0]
    assert (held["file"], held["max_soft_tokens"]) == (origin, 140)
    assert "path" not in held and not isinstance(held["image"], str)
    first = talk.session.prompt_tokens()
    talk.session.max_soft_tokens = 70  # of those that say nothing of their own
    other = picture(tmp_path / "b.png", "blue", size=(400, 300))
    talk.turn([{"type": "image", "image": other}, {"type": "text", "text": "and this?"}], "blue")
    assert talk.session.prefilled_tokens < talk.session.prompt_tokens() - first / 2
    with pytest.raises(InputError, match="max_soft_tokens"):
        list(talk.session.send([{"type": "image", "image": other, "max_soft_tokens": 71}]))
    assert np.array_equal(held["image"], talk.session.messages[0]["content"][0]["image"])
