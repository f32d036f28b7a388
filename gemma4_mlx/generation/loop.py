"""The two loops of generating: prefill a prompt in chunks, then decode token by token.

Prefill: chunks before the last only fill the cache; of the last, only the last token's logits are
computed. On models that see images as blocks, a chunk border that would fall inside an image is
moved to its edge.

Decode: the next step is built and queued before the current token is handed out, so that the
device never waits for the host.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

import mlx.core as mx
import numpy as np

from gemma4_mlx.errors import CheckpointError, InputError
from gemma4_mlx.model import Gemma4Model
from gemma4_mlx.multimodal import TokenLayout, read_layout, tower_inputs
from gemma4_mlx.nan_scan import tensors_with_nan
from gemma4_mlx.text.kv_cache import KVCache
from gemma4_mlx.text.padding import left_padding

Sampler = Callable[[mx.array], mx.array]
Progress = Callable[[int, int], None]


def generate_tokens(
    model: Gemma4Model,
    inputs: Mapping[str, Any],
    cache: KVCache,
    sampler: Sampler,
    *,
    max_tokens: int,
    prefill_step_size: int = 2048,
    on_prefill: Progress | None = None,
) -> Generator[list[int], Sequence[int] | None, None]:
    """Prefill ``inputs`` (a processor's output, continuing the cache) and yield tokens.

    ``sampler`` turns logits (B, vocab) into ids (B,). Yields one id per row and step, at most
    ``max_tokens`` times; end-of-turn ids are the caller's business: close the iterator to stop.
    The cache then holds the prompt and every token yielded, except the last of ``max_tokens``.
    ``on_prefill(done, total)`` is called after every chunk. Of a batch, rows that have ended may be
    left out from then on: send the numbers of those that go on.

    Raises InputError for inputs that do not fit, CheckpointError when a weight holds NaN.
    """
    logits = prefill(model, inputs, cache, step_size=prefill_step_size, on_chunk=on_prefill)
    step = _Step(sampler, logits)
    mx.async_eval(step.tokens, step.is_nan)
    for count in range(1, max_tokens + 1):
        feed, upcoming, known = None, step, None
        try:
            if count < max_tokens:
                next_logits, feed = model.decode_step(step.tokens, cache)
                upcoming = _Step(sampler, next_logits)
                if feed is None:
                    mx.async_eval(upcoming.tokens, upcoming.is_nan)
            known = np.array(step.tokens)
        finally:
            # Also when interrupted: a step whose rows are never written would leave nonsense
            # in the cache.
            if feed is not None:
                feed(np.array(step.tokens) if known is None else known)
        if feed is not None:
            mx.async_eval(upcoming.tokens, upcoming.is_nan)
        if step.is_nan.item():
            raise CheckpointError(_nan_message(model))
        going_on = yield known.tolist()
        step = upcoming
        if going_on is not None and count < max_tokens:
            cache.keep_rows(going_on)
            step.tokens = step.tokens[mx.array(list(going_on))]


class _Step:
    """What one step gives: a token for each row, and whether any of its logits is NaN."""

    def __init__(self, sampler: Sampler, logits: mx.array):
        self.tokens = sampler(logits)
        self.is_nan = mx.isnan(logits).any()


def prefill(
    model: Gemma4Model,
    inputs: Mapping[str, Any],
    cache: KVCache,
    *,
    step_size: int,
    on_chunk: Progress | None = None,
) -> mx.array:
    """Take a prompt into the cache, ``step_size`` tokens at a time; the last logits (B, vocab)."""
    if step_size < 1:
        raise InputError(f"the prefill step size is {step_size}, expected 1 or more")
    layout = read_layout(inputs["input_ids"], inputs.get("mm_token_type_ids"), model.config)
    model.check_fits(layout.ids.shape, cache)
    left_padding(inputs.get("attention_mask"), layout.ids.shape, cache)
    soft_tokens = model.encode_media(**tower_inputs(inputs))
    soft_tokens.check(layout.types)

    total = layout.ids.shape[1]
    start = 0
    while start < total:
        end = _chunk_end(start, step_size, layout, model.config.text.bidirectional_vision)
        hidden = model.forward_chunk(
            layout.part(start, end), soft_tokens, cache=cache, keep=1 if end == total else 0
        )
        if end < total:
            mx.eval(cache.arrays())
            # What the next chunk allocates has other sizes, for it sees more keys.
            mx.clear_cache()
        if on_chunk is not None:
            on_chunk(end, total)
        start = end
    return model.language_model.logits(hidden)[:, -1]


def _chunk_end(start: int, step_size: int, layout: TokenLayout, blocks: bool) -> int:
    """Where the chunk that begins at ``start`` ends: never inside an image, if those are blocks."""
    is_picture = layout.is_picture
    total = is_picture.shape[1]
    end = min(start + step_size, total)
    if not blocks or end == total:
        return end
    # Position p is inside a block when it and the position before it show a picture.
    inside = (is_picture[:, 1:] & is_picture[:, :-1]).any(axis=0)
    before = end
    while before > start and inside[before - 1]:
        before -= 1
    if before > start:
        return before
    while end < total and inside[end - 1]:  # the picture is longer than a chunk: take it whole
        end += 1
    return end


def _nan_message(model: Gemma4Model) -> str:
    names = tensors_with_nan(model)
    if names:
        return (
            f"the weights hold NaN in {', '.join(names)}: download the checkpoint again, "
            "or convert it again"
        )
    return (
        "the model's output is NaN although no weight is: the activations overflow in this "
        "dtype; use bfloat16 or float32"
    )
