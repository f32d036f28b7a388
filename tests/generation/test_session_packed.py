"""Conversations on a cache of 8 bits: reused, gone back to and read on like the plain one.

A token is packed once, so what a cache of several turns gives is what one filled at once gives.
"""

from collections.abc import Callable
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from gemma4_mlx.errors import InputError
from gemma4_mlx.generation import session as session_module
from gemma4_mlx.generation.loop import prefill
from gemma4_mlx.generation.session import ChatSession
from gemma4_mlx.generation.stream import stream_generate
from gemma4_mlx.processing.tokenizer import Tokenizer
from tests.generation.test_session import FAMILIES, Talk, texts
from tests.generation.tiny_model import tiny_model

HEAD_DIM = 128  # what 8 bits can be packed of: 160 numbers in one tensor, or 128


class PackedTalk(Talk):
    """Checks every turn against a fresh cache of 8 bits, and that 8 bits are not the plain one."""

    def __init__(self, family: str, tokenizer: Tokenizer, patch: Callable[[Any], None]):
        super().__init__(family, tokenizer, patch, global_head_dim=HEAD_DIM)
        self.session = ChatSession(self.model, self.processor, max_soft_tokens=70, kv_bits=8)

    def check_logits(self) -> None:
        packed, plain = self.fresh(8), self.fresh(None)
        found = np.array(self.script.logits[0])
        scale = np.abs(plain).max()
        cost = np.abs(packed - plain).max() / scale
        # Sums in another order may round a number to the next of its 256 steps.
        assert np.abs(found - packed).max() / scale < 0.2 * cost < 0.02

    def fresh(self, kv_bits: int | None) -> np.ndarray:
        """The logits of the cue for the last reply when all is read at once."""
        inputs = self.processor(
            self.session.messages[:-1],
            self.session.tools,
            self.session.enable_thinking,
            max_soft_tokens=70,
        )
        cache = self.model.make_cache(kv_bits)
        return np.array(prefill(self.model, inputs, cache, step_size=2048))


@pytest.fixture(params=FAMILIES)
def talk(
    request: pytest.FixtureRequest, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> PackedTalk:
    def patch(sampler: Any) -> None:
        monkeypatch.setattr(session_module, "make_sampler", lambda *_args, **_kwargs: sampler)

    return PackedTalk(request.param, tokenizer, patch)


def test_several_turns_read_only_what_is_new(talk: PackedTalk) -> None:
    for number in range(4):
        talk.turn(f"Question number {number}, " * 3, "a long answer " * 5)
    total = talk.prompt_length(talk.session.messages[:-1])
    assert talk.session.prefilled_tokens < total / 3


def test_a_dropped_thought_goes_back_to_a_snapshot(talk: PackedTalk) -> None:
    talk.session.enable_thinking = True
    talk.turn("Hi", "<|channel>thought\nlet me see\n<channel|>Hello")
    for _ in range(2):
        chunks = talk.turn("More", "<|channel>thought\nhm\n<channel|>Yes")
        assert texts(chunks) == "Yes"
    assert talk.session.prefilled_tokens < talk.prompt_length(talk.session.messages[:-1]) / 2


def test_an_error_goes_back_to_the_state_before(talk: PackedTalk) -> None:
    talk.turn("Hi", "Hello")

    def broken(logits: mx.array) -> mx.array:
        raise RuntimeError("out of memory")

    talk.patch(broken)
    with pytest.raises(RuntimeError):
        list(talk.session.send("A question that is not answered, " * 5))
    talk.turn("Go on", "ok")
    assert talk.session.prefilled_tokens < talk.prompt_length(talk.session.messages[:-1])


def test_clear_begins_with_8_bits_again(talk: PackedTalk) -> None:
    talk.turn("Hi", "Hello")
    nbytes = talk.session._prefix.cache.nbytes
    talk.session.clear()
    talk.turn("Hi", "Hello")
    assert talk.session._prefix.cache.nbytes == nbytes


def test_a_single_reply_takes_less(tokenizer: Tokenizer) -> None:
    model, processor = tiny_model("31b", tokenizer, global_head_dim=HEAD_DIM)
    sizes = {}
    made = model.make_cache
    for bits in (None, 8):
        caches = []

        def make(kv_bits: int | None = None) -> Any:
            caches.append(made(kv_bits))  # noqa: B023
            return caches[-1]  # noqa: B023

        object.__setattr__(model, "make_cache", make)
        try:
            list(stream_generate(model, processor, "Hi", max_tokens=2, kv_bits=bits))
        finally:
            object.__delattr__(model, "make_cache")
        sizes[bits] = caches[0].nbytes
    assert sizes[8] < sizes[None]


def test_bits_that_cannot_be_had(tokenizer: Tokenizer) -> None:
    model, processor = tiny_model("e2b", tokenizer, global_head_dim=HEAD_DIM)
    with pytest.raises(InputError, match="kv_bits is 4, expected 8"):
        ChatSession(model, processor, kv_bits=4)
    with pytest.raises(InputError, match="kv_bits is 4, expected 8"):
        next(stream_generate(model, processor, "Hi", kv_bits=4))
    given = {"cache": model.make_cache(), "kv_bits": 8}
    with pytest.raises(InputError, match="leave one of them out"):
        next(stream_generate(model, processor, "Hi", **given))
