"""Many prompts answered together: one step of the decoder gives a token to every row.

A step reads all weights whether it serves one row or eight, so a batch costs little more than its
longest reply alone. Prompts of like length go together, for a shorter one is padded at its start.
A row ends by itself; when half of a batch has ended, the cache goes on without those rows.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import mlx.core as mx

from gemma4_mlx.generation.arguments import whole_number
from gemma4_mlx.generation.collate import collate
from gemma4_mlx.generation.loop import Sampler, generate_tokens
from gemma4_mlx.generation.reply import ReplyReader, inside_thought
from gemma4_mlx.generation.sampling import make_sampler
from gemma4_mlx.generation.stream import FinishReason, check_lengths, reply_limit
from gemma4_mlx.generation.working_set import working_set

if TYPE_CHECKING:
    from gemma4_mlx.model import Gemma4Model
    from gemma4_mlx.processing.processor import Processor

# A prompt of one row is read in pieces of so many tokens; those of a batch share them.
_PREFILL_STEP, _SMALLEST_STEP = 2048, 256

# Told the ids of a reply so far, says whether it shall end here.
Stop = Callable[[list[int]], bool]


@dataclass(frozen=True)
class Reply:
    """A whole reply: what the chunks of stream_generate add up to."""

    text: str
    thought: str
    tool_calls: list[dict[str, Any]]
    finish_reason: FinishReason
    token_ids: list[int]
    notices: list[str]


def batch_generate(
    model: "Gemma4Model",
    processor: "Processor",
    conversations: Sequence[str | Sequence[Mapping[str, Any]]],
    *,
    batch_size: int = 8,
    max_tokens: int | None = None,
    temperature: float | None = None,
    top_p: float | None = None,
    top_k: int | None = None,
    seed: int | None = None,
    tools: Sequence[Mapping[str, Any]] | None = None,
    enable_thinking: bool = False,
    max_soft_tokens: int | None = None,
    kv_bits: int | None = None,
) -> list[Reply]:
    """Answer conversations (or plain questions) that know nothing of each other, in their order.

    Settings and errors are those of stream_generate; errors come before the model runs.
    At temperature 0 a reply is what it would be alone, up to the rounding of sums that another
    shape makes: two tokens that are equally likely may change places.
    """
    whole_number("batch_size", batch_size, 1)
    check_lengths(max_tokens, _PREFILL_STEP)
    sampler = make_sampler(model.generation_config, temperature, top_p, top_k, seed)
    prompts, notices = [], []
    for conversation in conversations:
        if isinstance(conversation, str):
            conversation = [{"role": "user", "content": conversation}]
        prompts.append(
            processor(conversation, tools, enable_thinking, max_soft_tokens=max_soft_tokens)
        )
        notices.append(list(processor.notices))
    limits = [reply_limit(model, prompt["input_ids"].shape[1], max_tokens) for prompt in prompts]

    replies: dict[int, Reply] = {}
    order = sorted(range(len(prompts)), key=lambda i: prompts[i]["input_ids"].shape[1])
    for first in range(0, len(order), batch_size):
        chosen = order[first : first + batch_size]
        rows = [prompts[row] for row in chosen]
        ids = generate_rows(
            model, rows, sampler, limits=[limits[row] for row in chosen], kv_bits=kv_bits
        )
        for row, tokens in zip(chosen, ids, strict=True):
            replies[row] = whole_reply(model, processor, prompts[row], tokens, notices[row])
    return [replies[row] for row in range(len(prompts))]


def generate_rows(
    model: "Gemma4Model",
    prompts: Sequence[Mapping[str, mx.array]],
    sampler: Sampler,
    *,
    limits: Sequence[int],
    stops: Sequence[Stop] | None = None,
    kv_bits: int | None = None,
) -> list[list[int]]:
    """The ids of the reply to each prompt, all decoded as one batch.

    ``prompts`` are outputs of the processor, ``limits`` how many tokens each reply may have. A
    reply ends with an end-of-turn id, which is its last, at its limit, or where its stop says so.
    Raises InputError when the longest prompt leaves no room for a reply.
    """
    inputs = collate(prompts, model.config.text.pad_token_id)
    most = reply_limit(model, inputs["input_ids"].shape[1], max(limits))
    eos = frozenset(model.generation_config.eos_token_ids)
    replies: list[list[int]] = [[] for _ in prompts]
    rows = list(range(len(prompts)))  # which reply each row of the batch belongs to
    going_on = set(rows)
    tokens = generate_tokens(
        model,
        inputs,
        model.make_cache(kv_bits),
        sampler,
        max_tokens=most,
        prefill_step_size=max(_SMALLEST_STEP, _PREFILL_STEP // len(prompts)),
    )
    with working_set(model):
        try:
            step = next(tokens)
            while True:
                for row, token in zip(rows, step, strict=True):
                    if row not in going_on:
                        continue
                    reply = replies[row]
                    reply.append(token)
                    full = len(reply) >= limits[row]
                    if token in eos or full or (stops is not None and stops[row](reply)):
                        going_on.remove(row)
                if not going_on:
                    return replies
                kept = None
                # Other shapes may have to be compiled anew, so a batch shrinks seldom.
                if len(going_on) <= len(rows) // 2:
                    kept = [place for place, row in enumerate(rows) if row in going_on]
                    rows = [rows[place] for place in kept]
                step = tokens.send(kept)
        except StopIteration:
            return replies
        finally:
            tokens.close()


def whole_reply(
    model: "Gemma4Model",
    processor: "Processor",
    prompt: Mapping[str, mx.array],
    ids: list[int],
    notices: Sequence[str] = (),
) -> Reply:
    """The ids of the reply to ``prompt`` as text, thought and calls."""
    ended = bool(ids) and ids[-1] in model.generation_config.eos_token_ids
    prompt_ids: list[int] = prompt["input_ids"][0].tolist()  # type: ignore[assignment]
    reader = ReplyReader(
        processor.tokenizer, inside_thought=inside_thought(prompt_ids, processor.tokenizer)
    )
    deltas = [reader.read(token) for token in (ids[:-1] if ended else ids)]
    deltas.append(reader.finish())
    calls = [call for delta in deltas for call in delta.tool_calls]
    return Reply(
        text="".join(delta.text for delta in deltas),
        thought="".join(delta.thought for delta in deltas),
        tool_calls=calls,
        finish_reason=("tool_calls" if calls else "stop") if ended else "length",
        token_ids=ids,
        notices=[*notices, *(note for delta in deltas for note in delta.notices)],
    )
