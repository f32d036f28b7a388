"""One reply as a stream of chunks, or as a string.

A reply ends at any of the ids that ``generation_config.json`` calls an end of sequence; id 50
``<|tool_response>`` is among them and in no other file. The number of tokens asked for is capped
to what the model's context leaves after the prompt.
"""

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import mlx.core as mx
import numpy as np

from gemma4_mlx.errors import InputError
from gemma4_mlx.generation.arguments import whole_number
from gemma4_mlx.generation.loop import Sampler, generate_tokens
from gemma4_mlx.generation.reply import Delta, ReplyReader, inside_thought
from gemma4_mlx.generation.sampling import make_sampler
from gemma4_mlx.generation.stats import Stats, Stopwatch
from gemma4_mlx.generation.working_set import working_set

if TYPE_CHECKING:
    from gemma4_mlx.model import Gemma4Model
    from gemma4_mlx.processing.processor import Processor
    from gemma4_mlx.text.kv_cache import KVCache

FinishReason = Literal["stop", "length", "tool_calls"]

DEFAULT_MAX_TOKENS = 2048


@dataclass(frozen=True)
class Chunk:
    """A piece of a reply.

    ``text`` and ``thought`` are new, not the whole so far. ``tool_calls`` are those this piece
    completes, in the form messages take. ``token_ids`` are the ids it was read from, in order;
    the chunks of a reply together hold every id once. ``finish_reason`` is None until the last
    chunk. ``notices`` say what was resampled, sampled from a video, or could not be read.
    """

    text: str
    thought: str
    tool_calls: list[dict[str, Any]]
    finish_reason: FinishReason | None
    stats: Stats
    token_ids: list[int]
    notices: list[str] = field(default_factory=list)


def stream_generate(
    model: "Gemma4Model",
    processor: "Processor",
    messages: str | Sequence[Mapping[str, Any]],
    *,
    max_tokens: int | None = None,
    temperature: float | None = None,
    top_p: float | None = None,
    top_k: int | None = None,
    seed: int | None = None,
    tools: Sequence[Mapping[str, Any]] | None = None,
    enable_thinking: bool = False,
    max_soft_tokens: int | None = None,
    prefill_step_size: int = 2048,
    on_prefill: Callable[[int, int], None] | None = None,
    cache: "KVCache | None" = None,
    kv_bits: int | None = None,
) -> Generator[Chunk, None, None]:
    """Answer ``messages`` (or a plain question), chunk by chunk; close the iterator to stop.

    Sampling settings left out are the checkpoint's own; temperature 0 is greedy, and a ``seed``
    gives the same reply again. ``max_tokens`` None stands for 2,048. ``max_soft_tokens`` is the
    budget of an image: 70, 140, 280, 560 or 1,120. ``on_prefill(done, total)`` hears how far the
    prompt has been read. ``cache``, from ``model.make_cache()``, must be empty and holds the
    prompt and the reply afterwards; ChatSession is the way to hold a conversation. ``kv_bits=8``
    keeps the global layers of a cache made here in 8 bits.

    Raises InputError for a prompt longer than the model's context and for settings of another
    type or out of range, when the first chunk is asked for and before the model runs.
    """
    requested = time.perf_counter()
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    sampler = make_sampler(model.generation_config, temperature, top_p, top_k, seed)
    check_lengths(max_tokens, prefill_step_size)
    if cache is not None and cache.offset:
        raise InputError(
            f"the cache already holds {cache.offset} tokens, expected an empty one: "
            "use ChatSession to continue a conversation"
        )
    if cache is None:
        cache = model.make_cache(kv_bits)
    elif kv_bits is not None:
        raise InputError(
            f"kv_bits is {kv_bits!r:.60}, but the cache given has its own: leave one of them out"
        )
    inputs = processor(messages, tools, enable_thinking, max_soft_tokens=max_soft_tokens)
    prompt: list[int] = np.array(inputs["input_ids"][0]).tolist()
    limit = reply_limit(model, len(prompt), max_tokens)
    yield from read_reply(
        model,
        processor,
        inputs,
        cache,
        sampler,
        reader=ReplyReader(
            processor.tokenizer, inside_thought=inside_thought(prompt, processor.tokenizer)
        ),
        stopwatch=Stopwatch(len(prompt), len(prompt), requested),
        max_tokens=limit,
        prefill_step_size=prefill_step_size,
        on_prefill=on_prefill,
        notices=list(processor.notices),
    )


def generate(
    model: "Gemma4Model",
    processor: "Processor",
    messages: str | Sequence[Mapping[str, Any]],
    **settings: Any,
) -> str:
    """The visible text of the reply to ``messages``, which may be a plain question.

    ``settings`` and errors are those of stream_generate, which also gives thoughts, tool calls
    and why the reply ended.
    """
    return "".join(chunk.text for chunk in stream_generate(model, processor, messages, **settings))


def check_lengths(max_tokens: int | None, prefill_step_size: int) -> None:
    """InputError unless both are whole numbers of at least 1; ``max_tokens`` may be None."""
    if max_tokens is not None:
        whole_number("max_tokens", max_tokens, 1)
    whole_number("prefill_step_size", prefill_step_size, 1)


def reply_limit(model: "Gemma4Model", prompt_tokens: int, max_tokens: int | None) -> int:
    """How many tokens a reply may have: what was asked for, within what the context leaves.

    Raises InputError when the context leaves nothing.
    """
    context = model.config.text.max_position_embeddings
    if prompt_tokens >= context:
        raise InputError(
            f"the prompt is {prompt_tokens} tokens long, but the model's context holds {context} "
            "including the reply: shorten it, or give fewer or smaller media"
        )
    return min(max_tokens or DEFAULT_MAX_TOKENS, context - prompt_tokens)


def read_reply(
    model: "Gemma4Model",
    processor: "Processor",
    inputs: Mapping[str, mx.array],
    cache: "KVCache",
    sampler: Sampler,
    *,
    reader: ReplyReader,
    stopwatch: Stopwatch,
    max_tokens: int,
    prefill_step_size: int = 2048,
    on_prefill: Callable[[int, int], None] | None = None,
    notices: Sequence[str] = (),
    record: list[int] | None = None,
) -> Generator[Chunk, None, None]:
    """Run the loop over ``inputs`` (those the cache lacks) and read what it generates.

    Shared by stream_generate and ChatSession, which differ in what the cache already holds.
    Every id is put into ``record`` as it comes, so that a reply broken off is accounted for too.
    """
    eos = frozenset(model.generation_config.eos_token_ids)
    pending: list[int] = []  # ids read since the last chunk
    said = list(notices)
    called = False

    def chunk(delta: Delta, reason: FinishReason | None = None) -> Chunk:
        ids, pending[:] = list(pending), []
        notes = said + delta.notices
        said.clear()
        return Chunk(
            delta.text, delta.thought, delta.tool_calls, reason, stopwatch.stats(), ids, notes
        )

    reason: FinishReason = "length"
    tokens = generate_tokens(
        model,
        inputs,
        cache,
        sampler,
        max_tokens=max_tokens,
        prefill_step_size=prefill_step_size,
        on_prefill=on_prefill,
    )
    with working_set(model):
        try:
            for (token_id,) in tokens:
                stopwatch.token()
                pending.append(token_id)
                if record is not None:
                    record.append(token_id)
                if token_id in eos:
                    reason = "stop"
                    break
                delta = reader.read(token_id)
                called = called or bool(delta.tool_calls)
                if delta:
                    yield chunk(delta)
        finally:
            tokens.close()  # a step that was queued is dropped
    rest = reader.finish()
    if reason == "stop" and (called or rest.tool_calls):
        reason = "tool_calls"
    yield chunk(rest, reason)
