"""Prompts answered together: each reply is what it would be alone, and rows end by themselves."""

from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from PIL import Image

from gemma4_mlx import load_model, stream_generate
from gemma4_mlx.errors import InputError
from gemma4_mlx.generation import batch as batch_module
from gemma4_mlx.generation.batch import batch_generate, generate_rows
from gemma4_mlx.loading import find_checkpoint
from gemma4_mlx.processing.processor import Processor
from tests.generation.tiny_model import tiny_model
from tests.generation.tiny_tokenizer import tiny_tokenizer

TOKENIZER = tiny_tokenizer()


@pytest.fixture(scope="module")
def demo() -> tuple[Any, Any]:
    model = load_model("demo", dtype="float32")
    return model, Processor.from_dir(find_checkpoint("demo"), model.config)


def sound(seconds: float, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.05, int(seconds * 16_000)).astype(np.float32)


def picture(colour: str, width: int) -> np.ndarray:
    return np.array(Image.new("RGB", (width, 64), colour))


def conversations() -> list[Any]:
    """Text, recordings and pictures of several lengths."""
    hear = {"type": "text", "text": "What is said?"}
    see = {"type": "text", "text": "What is this?"}
    contents: list[Any] = [
        "What is the capital of France?",
        [{"type": "audio", "audio": sound(0.7, 1)}, hear],
        [{"type": "image", "image": picture("red", 64)}, see],
        "Hi",
        [{"type": "audio", "audio": sound(2.3, 2)}, hear],
        [{"type": "image", "image": picture("blue", 200)}, see],
        [{"type": "image", "image": picture("blue", 64)}, {"type": "audio", "audio": sound(1, 3)}],
    ]
    return [[{"role": "user", "content": content}] for content in contents]


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_a_reply_in_a_batch_is_the_reply_alone(demo: Any, batch_size: int) -> None:
    replies = batch_generate(
        *demo, conversations(), batch_size=batch_size, temperature=0.0, max_tokens=14
    )
    for conversation, reply in zip(conversations(), replies, strict=True):
        chunks = list(stream_generate(*demo, conversation, temperature=0.0, max_tokens=14))
        assert reply.token_ids == [token for chunk in chunks for token in chunk.token_ids]
        assert reply.text == "".join(chunk.text for chunk in chunks)
        assert reply.finish_reason == chunks[-1].finish_reason
    assert {reply.finish_reason for reply in replies} == {"stop", "length"}


class Rows:
    """A sampler that says a line per row; rows that are left out are noticed by their logits."""

    def __init__(self, replies: list[str]):
        self.ids = [[*TOKENIZER.encode(reply), TOKENIZER.token_id("<turn|>")] for reply in replies]
        self.shapes: list[int] = []
        self.step = 0

    def __call__(self, logits: mx.array) -> mx.array:
        self.shapes.append(logits.shape[0])
        end = TOKENIZER.token_id("<turn|>")
        tokens = [ids[self.step] if self.step < len(ids) else end for ids in self.ids]
        self.step += 1
        return mx.array(tokens[: logits.shape[0]])


def prompts(model: Any, count: int) -> list[Any]:
    processor = model[1]
    return [processor([{"role": "user", "content": "a " * (i + 1)}]) for i in range(count)]


def test_a_batch_goes_on_without_the_rows_that_have_ended() -> None:
    model = tiny_model("e2b", TOKENIZER)
    # The longest replies first, so that the rows that stay keep their places.
    sampler = Rows(["one two three four", "one two", "one", "one"])
    found = generate_rows(model[0], prompts(model, 4), sampler, limits=[50] * 4)
    assert [ids[:-1] for ids in found] == [ids[:-1] for ids in sampler.ids]
    # A step is queued before the ids of the one before it are known.
    assert sampler.shapes[0] == 4 and sampler.shapes[-1] < 4


def test_rows_end_at_their_own_limit_and_where_they_are_told() -> None:
    model = tiny_model("e2b", TOKENIZER)
    sampler = Rows(["one two three four"] * 3)
    stops = [lambda ids: ids[-1] == sampler.ids[0][2]] * 3
    found = generate_rows(model[0], prompts(model, 3), sampler, limits=[2, 50, 1], stops=stops)
    assert found == [sampler.ids[0][:2], sampler.ids[0][:3], sampler.ids[0][:1]]


def test_what_is_left_of_a_batch_is_what_it_was() -> None:
    """Rows left out change nothing for the others: the same ids as alone, rings and all."""
    model, processor = tiny_model("e2b", TOKENIZER)
    together = prompts((model, processor), 5)
    # Random weights never end a turn, so limits make the rows end at different times.
    limits = [3, 40, 9, 40, 4]
    greedy = batch_module.make_sampler(model.generation_config, 0.0)
    found = generate_rows(model, together, greedy, limits=limits)
    for prompt, limit, ids in zip(together, limits, found, strict=True):
        assert ids == generate_rows(model, [prompt], greedy, limits=[limit])[0]


def test_refusals(demo: Any) -> None:
    for wrong in ({"batch_size": 0}, {"temperature": -1}, {"max_tokens": 0}, {"kv_bits": 3}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            batch_generate(*demo, ["Hi"], **wrong)
    assert batch_generate(*demo, []) == []


def test_notices_stay_with_their_conversation(demo: Any) -> None:
    loud = {"type": "audio", "audio": 2 * np.ones(8000, np.float32)}
    quiet = {"type": "audio", "audio": sound(0.5, 4)}
    replies = batch_generate(
        *demo, [[{"role": "user", "content": [part]}] for part in (quiet, loud)], max_tokens=3
    )
    assert replies[0].notices == [] and "full scale" in replies[1].notices[0]
