"""Single replies: where they end, what is refused, what is told about them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gemma4_mlx import ChatSession, generate, stream_generate
from gemma4_mlx.errors import InputError
from gemma4_mlx.generation import stream as stream_module
from gemma4_mlx.processing.tokenizer import Tokenizer

from .tiny_model import Script, tiny_model

HI = [{"role": "user", "content": "Hi"}]


@pytest.fixture
def model(tokenizer: Tokenizer) -> tuple[Any, Any]:
    return tiny_model("e2b", tokenizer)


@pytest.fixture
def answer(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Script]:
    def script(reply: str, end: str = "<turn|>") -> Script:
        made = Script(tokenizer, reply, end)
        monkeypatch.setattr(stream_module, "make_sampler", lambda *_: made)
        return made

    return script


def test_generate_gives_the_visible_text(model: Any, answer: Callable[..., Script]) -> None:
    answer("<|channel>thought\nhm\n<channel|>Hello 🚀")
    assert generate(*model, HI) == "Hello 🚀"
    answer("Hello")
    assert generate(*model, "Hi") == "Hello"


@pytest.mark.parametrize("end", ["<eos>", "<turn|>", "<|tool_response>"])
def test_every_end_of_turn_ends_it(model: Any, answer: Callable[..., Script], end: str) -> None:
    """50 ``<|tool_response>`` is an end in generation_config.json alone."""
    answer("ok", end)
    *_, last = stream_generate(*model, HI)
    assert (last.finish_reason, last.stats.generated_tokens) == ("stop", 3)


def test_tool_calls_are_the_reason(model: Any, answer: Callable[..., Script]) -> None:
    for whole in ("<tool_call|>", ""):
        answer(f"<|tool_call>call:f{{}}{whole}", "<|tool_response>")
        chunks = list(stream_generate(*model, HI))
        assert chunks[-1].finish_reason == "tool_calls"
        assert [c["function"]["name"] for chunk in chunks for c in chunk.tool_calls] == ["f"]


def test_the_limit(model: Any, answer: Callable[..., Script]) -> None:
    answer("Hello there")
    *chunks, last = stream_generate(*model, HI, max_tokens=4)
    assert "".join(chunk.text for chunk in chunks) == "Hell"
    assert (last.finish_reason, last.stats.generated_tokens) == ("length", 4)


def test_an_end_at_the_limit_is_an_end(model: Any, answer: Callable[..., Script]) -> None:
    answer("Hell")
    *_, last = stream_generate(*model, HI, max_tokens=5)
    assert last.finish_reason == "stop"


def test_chunks_account_for_every_id(model: Any, answer: Callable[..., Script]) -> None:
    script = answer("é<|tool_call>call:f{}<tool_call|>!")
    ids = [token for chunk in stream_generate(*model, HI) for token in chunk.token_ids]
    assert ids == [*script.ids, script.end]


def test_only_the_last_chunk_has_a_reason(model: Any, answer: Callable[..., Script]) -> None:
    answer("Hello")
    reasons = [chunk.finish_reason for chunk in stream_generate(*model, HI)]
    assert reasons[-1] == "stop" and not any(reasons[:-1])


def test_figures(model: Any, answer: Callable[..., Script]) -> None:
    answer("Hello there")
    *_, last = stream_generate(*model, HI)
    stats = last.stats
    assert stats.prompt_tokens == stats.prefilled_tokens == model[1](HI)["input_ids"].size
    assert 0 < stats.prefill_seconds <= stats.time_to_first_token
    assert stats.decode_tps == pytest.approx((stats.generated_tokens - 1) / stats.decode_seconds)
    assert stats.peak_memory > 100_000


def test_greedy_is_the_same_again_and_a_seed_too(model: Any) -> None:
    for settings in ({"temperature": 0.0}, {"seed": 5}):
        runs = []
        for _ in range(2):
            chunks = stream_generate(*model, HI, max_tokens=12, **settings)
            runs.append([token for chunk in chunks for token in chunk.token_ids])
        assert runs[0] == runs[1] and len(runs[0]) > 0


def test_a_prompt_longer_than_the_context(tokenizer: Tokenizer) -> None:
    model, processor = tiny_model("e2b", tokenizer, max_position_embeddings=40)
    for length in (100, 40 - processor(HI)["input_ids"].size + 2):  # far over, and just full
        with pytest.raises(InputError) as error:
            list(stream_generate(model, processor, "x" * length))
        assert "40" in str(error.value)
    *_, last = stream_generate(model, processor, HI, max_tokens=10_000, temperature=0.0)
    assert last.stats.prompt_tokens + last.stats.generated_tokens <= 40


@pytest.mark.parametrize(
    "settings", [{"max_tokens": 0}, {"temperature": -1}, {"top_p": 2}, {"max_soft_tokens": 71}]
)
def test_settings_out_of_range(model: Any, settings: dict[str, Any]) -> None:
    picture = {"type": "image", "image": np.zeros((48, 48, 3), np.uint8)}
    with pytest.raises(InputError):
        list(stream_generate(*model, [{"role": "user", "content": [picture]}], **settings))


def test_a_cache_that_holds_something_is_refused(model: Any, answer: Callable[..., Script]) -> None:
    cache = model[0].make_cache()
    answer("ok")
    list(stream_generate(*model, HI, cache=cache))
    assert cache.offset > 0
    with pytest.raises(InputError, match="ChatSession"):
        next(stream_generate(*model, HI, cache=cache))


def test_a_recording_for_a_model_that_cannot_hear(tokenizer: Tokenizer) -> None:
    model, processor = tiny_model("31b", tokenizer)
    sound = {"type": "audio", "audio": np.zeros(16_000, np.float32)}
    with pytest.raises(InputError, match="audio tower"):
        next(stream_generate(model, processor, [{"role": "user", "content": [sound]}]))


@pytest.mark.parametrize(
    ("name", "value"),
    [("max_tokens", "5"), ("max_tokens", 2.5), ("max_tokens", 0), ("prefill_step_size", "x")],
)
def test_lengths_that_are_no_whole_numbers(model: Any, name: str, value: Any) -> None:
    with pytest.raises(InputError, match=f"{name} is {value!r}, expected a whole number"):
        list(stream_generate(*model, HI, **{name: value}))
    with pytest.raises(InputError, match=name):
        ChatSession(*model, **{name: value})
