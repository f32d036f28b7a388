"""Conversations on one cache: what is read again, what is kept, what an error leaves behind.

The replies are scripted, so that each kind can be had; the logits are the model's own and are
compared with those of the whole conversation read at once.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from gemma4_mlx.errors import InputError, MediaError
from gemma4_mlx.generation import session as session_module
from gemma4_mlx.generation.loop import prefill
from gemma4_mlx.generation.session import ChatSession
from gemma4_mlx.processing.tokenizer import Tokenizer

from .tiny_model import Script, picture, tiny_model

FAMILIES = ["e2b", "31b"]


class Talk:
    """A session, and the script that answers its next turn."""

    def __init__(
        self, family: str, tokenizer: Tokenizer, patch: Callable[[Any], None], **text: Any
    ):
        self.model, self.processor = tiny_model(family, tokenizer, **text)
        self.tokenizer = tokenizer
        self.patch = patch
        self.session = ChatSession(self.model, self.processor, max_soft_tokens=70)
        self.script = Script(tokenizer, "")

    def answer(self, reply: str, end: str = "<turn|>") -> None:
        self.script = Script(self.tokenizer, reply, end)
        self.patch(self.script)

    def turn(self, content: Any, reply: str, end: str = "<turn|>") -> list[Any]:
        """Send, read to the end, and check the logits against a fresh reading of it all."""
        self.answer(reply, end)
        send = self.session.send if isinstance(content, str) or "type" in content[0] else None
        chunks = list((send or self.session.send_messages)(content))
        self.check_logits()
        return chunks

    def check_logits(self) -> None:
        inputs = self.processor(
            self.session.messages[:-1],
            self.session.tools,
            self.session.enable_thinking,
            max_soft_tokens=70,
        )
        fresh = prefill(self.model, inputs, self.model.make_cache(), step_size=2048)
        assert np.abs(np.array(fresh - self.script.logits[0])).max() < 2e-4

    def prompt_length(self, messages: list[Any]) -> int:
        return self.processor(messages, max_soft_tokens=70)["input_ids"].size


@pytest.fixture
def patch(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Makes every sampler of the session the one given."""
    return lambda sampler: monkeypatch.setattr(
        session_module, "make_sampler", lambda *_args, **_kwargs: sampler
    )


@pytest.fixture(params=FAMILIES)
def talk(
    request: pytest.FixtureRequest, tokenizer: Tokenizer, patch: Callable[[Any], None]
) -> Talk:
    return Talk(request.param, tokenizer, patch)


def texts(chunks: list[Any]) -> str:
    return "".join(chunk.text for chunk in chunks)


def test_only_the_new_turn_is_read(talk: Talk) -> None:
    assert texts(talk.turn("Hi", "Hello there, this is long")) == "Hello there, this is long"
    first, reply = talk.session.prefilled_tokens, len(talk.script.ids) + 1
    assert first == talk.prompt_length(talk.session.messages[:1])
    talk.turn("And you?", "Fine")
    total = talk.prompt_length(talk.session.messages[:-1])
    # The small models' cache is continued. The big ones' cue holds an empty thought that is not
    # in the history, so there the cue and the reply are read again, the question is not.
    cue = len(talk.tokenizer.encode("<|turn>model\n<|channel>thought\n<channel|>"))
    big = talk.model.config.text.bidirectional_vision
    assert talk.session.prefilled_tokens == total - first + (cue if big else -reply)


def test_three_turns_across_the_window(talk: Talk) -> None:
    """Longer than every ring, so that a snapshot that was written over would show."""
    for number in range(4):
        talk.turn(f"Question number {number}, " * 3, "a long answer " * 5)
    assert len(talk.session.messages) == 8


def test_replies_are_kept_as_ids(talk: Talk) -> None:
    """Single letters that the tokenizer would merge into one token when encoding the text again."""
    letters = [talk.tokenizer.token_id(c) for c in "thought"]
    talk.answer("")
    talk.script.ids = letters
    list(talk.session.send("Hi"))
    assert talk.tokenizer.encode_text("thought") != letters
    assert talk.session.messages[-1]["token_ids"] == letters
    talk.turn("Go on", "ok")


def test_thoughts_are_dropped_and_the_turn_is_read_again(talk: Talk) -> None:
    talk.session.enable_thinking = True
    chunks = talk.turn("Hi", "<|channel>thought\nlet me see\n<channel|>Hello")
    assert (texts(chunks), "".join(c.thought for c in chunks)) == ("Hello", "let me see")
    first = talk.session.prefilled_tokens
    talk.turn("More", "<|channel>thought\nhm\n<channel|>Yes")
    # From the snapshot before the first reply: its text and the new turn, and not the beginning.
    assert talk.session.prefilled_tokens < first + 12
    talk.turn("More", "<|channel>thought\nhm\n<channel|>Yes")
    total = talk.prompt_length(talk.session.messages[:-1])
    assert talk.session.prefilled_tokens < total - first


def test_a_tool_exchange_stays_in_one_turn(talk: Talk) -> None:
    call = "<|tool_call>call:time{}<tool_call|>"
    chunks = talk.turn("What time?", call, end="<|tool_response>")
    assert chunks[-1].finish_reason == "tool_calls"
    assert [c for chunk in chunks for c in chunk.tool_calls] == talk.session.messages[-1][
        "tool_calls"
    ]
    result = {"role": "tool", "tool_call_id": "call_1", "content": "noon"}
    talk.turn([result], "It is noon.")
    assert talk.session.prefilled_tokens < 45  # call and result, not the question
    chunks = talk.turn("Again", call, end="<|tool_response>")
    assert talk.session.messages[-1]["tool_calls"][0]["id"] == "call_2"


def test_pictures_of_earlier_turns_are_not_seen_again(
    talk: Talk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    tower = type(talk.model.vision_tower)
    look = tower.__call__

    def counted(self: Any, pixels: mx.array, *rest: Any) -> Any:
        seen.append(pixels.shape[0])
        return look(self, pixels, *rest)

    first = [{"type": "image", "image": picture(tmp_path / "a.png")}, {"type": "text", "text": "?"}]
    both = [
        {"type": "image", "image": picture(tmp_path / "b.png", "blue", (48, 80))},
        {"type": "image", "image": picture(tmp_path / "c.png", "green")},
        {"type": "text", "text": "and these"},
    ]
    talk.answer("red")
    monkeypatch.setattr(tower, "__call__", counted)
    list(talk.session.send(first))
    (tmp_path / "a.png").unlink()  # it is held decoded
    talk.answer("blue")
    list(talk.session.send(both))
    talk.answer("yes")
    list(talk.session.send("sure?"))
    assert seen == [1, 2]
    monkeypatch.setattr(tower, "__call__", look)
    talk.check_logits()


def test_another_picture_of_the_same_size_is_another_prefix(talk: Talk, tmp_path: Path) -> None:
    def question(colour: str) -> list[dict[str, Any]]:
        path = picture(tmp_path / f"{colour}.png", colour)
        return [{"type": "image", "image": path}, {"type": "text", "text": "What colour?"}]

    talk.turn(question("red"), "red")
    talk.session.messages = []
    talk.turn(question("blue"), "blue")
    assert talk.session.prefilled_tokens == talk.prompt_length(talk.session.messages[:-1])


def test_recordings_and_videos(tokenizer: Tokenizer, patch: Callable[[Any], None]) -> None:
    talk = Talk("e2b", tokenizer, patch)
    noise = np.random.default_rng(1).normal(0, 0.1, 40_000).astype(np.float32)
    frames = [np.full((48, 48, 3), 40 * n, np.uint8) for n in range(4)]
    talk.turn([{"type": "audio", "audio": noise[:16_000]}, {"type": "text", "text": "a"}], "one")
    talk.turn(
        [
            {"type": "video", "video": frames, "fps": 2},
            {"type": "audio", "audio": noise},  # longer: the first one is padded from now on
            {"type": "text", "text": "b"},
        ],
        "two",
    )
    before = talk.session.prefilled_tokens
    talk.turn(
        [{"type": "video", "video": frames[:2], "fps": 2}, {"type": "text", "text": "c"}], "3"
    )
    assert talk.session.prefilled_tokens < before


def test_a_reply_broken_off_is_kept(talk: Talk) -> None:
    talk.answer("Hello there")
    with closing(talk.session.send("Hi")) as chunks:
        heard = next(chunks).text + next(chunks).text
    assert talk.session.messages[-1]["content"] == heard == "He"
    talk.turn("Go on", "ok")


def test_a_reply_nobody_reads_on_is_closed_by_the_next_turn(talk: Talk) -> None:
    talk.answer("Hello there")
    chunks = talk.session.send("Hi")
    assert next(chunks).text == "H"
    talk.turn("Go on", "ok")
    assert [m["content"] for m in talk.session.messages] == ["Hi", "H", "Go on", "ok"]


def test_interrupted_in_the_middle_of_a_step(talk: Talk) -> None:
    """Ctrl-C may fall anywhere in a step: the cache then goes back to a state that is whole."""
    talk.turn("Hi", "Hello")

    class Interrupted(Script):
        def __call__(self, logits: mx.array) -> mx.array:
            if self.steps == 3:
                talk.session._prefix.cache.layers[0].offset += 1  # as if half way through
                raise KeyboardInterrupt
            return super().__call__(logits)

    talk.patch(Interrupted(talk.tokenizer, "Much more"))
    with pytest.raises(KeyboardInterrupt):
        list(talk.session.send("Go on"))
    assert "Much".startswith(talk.session.messages[-1]["content"])
    assert talk.session.messages[-1]["content"]
    talk.turn("Really?", "Yes")


def test_interrupted_before_the_first_token(talk: Talk) -> None:
    talk.turn("Hi", "Hello")
    messages = list(talk.session.messages)

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    talk.answer("x")
    with pytest.raises(KeyboardInterrupt):
        list(talk.session.send("Go on", interrupt))
    assert talk.session.messages == messages
    talk.turn("Go on", "ok")
    assert talk.session.prefilled_tokens < talk.prompt_length(talk.session.messages[:-1])


def test_a_bad_picture_leaves_the_session_as_it_was(talk: Talk, tmp_path: Path) -> None:
    talk.turn("Hi", "Hello")
    messages = list(talk.session.messages)
    bad = tmp_path / "bad.png"
    bad.write_bytes(Path(picture(tmp_path / "good.png")).read_bytes()[:60])
    with pytest.raises(MediaError, match=r"bad\.png"):
        list(talk.session.send([{"type": "image", "image": str(bad)}]))
    assert talk.session.messages == messages
    talk.turn("Go on", "ok")


def test_a_model_error_leaves_the_session_as_it_was(talk: Talk) -> None:
    talk.turn("Hi", "Hello")
    messages = list(talk.session.messages)

    def broken(logits: mx.array) -> mx.array:
        raise RuntimeError("out of memory")

    talk.patch(broken)
    with pytest.raises(RuntimeError):
        list(talk.session.send("Go on"))
    assert talk.session.messages == messages
    talk.turn("Go on", "ok")


def test_a_conversation_longer_than_the_context(
    tokenizer: Tokenizer, patch: Callable[[Any], None]
) -> None:
    talk = Talk("e2b", tokenizer, patch, max_position_embeddings=60)
    talk.turn("Hi", "Hello")
    with pytest.raises(InputError, match="60"):
        list(talk.session.send("x" * 100))
    chunks = talk.turn("Go on", "word " * 30)
    assert chunks[-1].finish_reason == "length"
    assert chunks[-1].stats.prompt_tokens + chunks[-1].stats.generated_tokens == 60


def test_a_reply_cut_at_its_limit_continues(talk: Talk) -> None:
    talk.session.max_tokens = 5
    chunks = talk.turn("Hi", "Hello there")
    assert (texts(chunks), chunks[-1].finish_reason) == ("Hello", "length")
    talk.turn("Go on", "again")


def test_system_message_and_clear(talk: Talk) -> None:
    session = ChatSession(talk.model, talk.processor, system="Be brief.")
    talk.session = session
    talk.turn("Hi", "Hello")
    session.clear()
    assert [m["role"] for m in session.messages] == ["system"]
    talk.turn("Hi", "Hello")
    assert session.prefilled_tokens == talk.prompt_length(session.messages[:-1])


def test_settings_out_of_range_show_at_once(talk: Talk) -> None:
    with pytest.raises(InputError, match="temperature"):
        ChatSession(talk.model, talk.processor, temperature=-1)


def test_every_id_is_in_exactly_one_chunk(talk: Talk) -> None:
    chunks = talk.turn("Hi", "<|channel>thought\nhm<channel|>é!")
    ids = [token for chunk in chunks for token in chunk.token_ids]
    assert ids == [*talk.script.ids, talk.script.end]


def test_notices_come_once(tokenizer: Tokenizer, patch: Callable[[Any], None]) -> None:
    talk = Talk("e2b", tokenizer, patch)

    def notes(chunks: Iterator[Any]) -> list[str]:
        return [note for chunk in chunks for note in chunk.notices]

    talk.answer("a")
    sound = (np.zeros(8000, np.float32), 8000)
    first = notes(talk.session.send([{"type": "audio", "audio": sound}]))
    assert len(first) == 1 and "8000" in first[0]
    talk.answer("b")
    assert notes(talk.session.send("and?")) == []


def test_a_part_with_two_sources_is_refused(talk: Talk, tmp_path: Path) -> None:
    """As by the processor: the second source must not get lost when the first is held."""
    talk.turn("Hi", "Hello")
    before = list(talk.session.messages)
    path = picture(tmp_path / "a.png")
    with pytest.raises(InputError, match="image and path"):
        list(talk.session.send([{"type": "image", "image": path, "path": path}]))
    assert talk.session.messages == before
