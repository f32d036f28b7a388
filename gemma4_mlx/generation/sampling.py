"""Choosing the next token: temperature, top-k, top-p, or simply the most likely one.

Gemma 4's card asks for temperature 1.0, top-k 64 and top-p 0.95 in all uses; the numbers are read
from ``generation_config.json``. The two filters are mlx-lm's. Deviation from mlx-lm's own chain:
the temperature is applied first, then top-k, then top-p, which is the order of the reference
implementation (mlx-lm filters at temperature 1 and cools afterwards, so its nucleus differs).
"""

from collections.abc import Callable

import mlx.core as mx

from gemma4_mlx.errors import InputError
from gemma4_mlx.generation.arguments import number, whole_number
from gemma4_mlx.generation.loop import Sampler
from gemma4_mlx.generation_config import GenerationConfig


def make_sampler(
    generation_config: GenerationConfig,
    temperature: float | None = None,
    top_p: float | None = None,
    top_k: int | None = None,
    seed: int | None = None,
) -> Sampler:
    """A function from logits (B, V) to token ids (B,).

    What is left out comes from ``generation_config``; temperature 0 is greedy. ``top_k`` 0 and
    ``top_p`` 1 turn their filter off. With a ``seed`` the sampler has its own random stream, so
    the same logits give the same ids whatever else draws random numbers.
    Raises InputError for values of another type or out of range.
    """
    if temperature is None:
        temperature = generation_config.temperature if generation_config.do_sample else 0.0
    temperature = number("temperature", temperature)
    if temperature < 0:
        raise InputError(f"temperature is {temperature}, expected 0 (greedy) or a positive number")
    top_p = number("top_p", generation_config.top_p if top_p is None else top_p)
    if not 0 < top_p <= 1:
        raise InputError(f"top_p is {top_p}, expected a number above 0 and up to 1 (1: off)")
    top_k = whole_number("top_k", generation_config.top_k if top_k is None else top_k, 0)
    if seed is not None:
        seed = whole_number("seed", seed, 0, below=2**64)
    suppress = _suppressor(generation_config.suppress_tokens)

    if temperature == 0:
        return lambda logits: mx.argmax(suppress(logits), axis=-1)

    from mlx_lm.sample_utils import apply_top_k, apply_top_p  # a second to import: only when used

    keys = _keys(seed)

    def sample(logits: mx.array) -> mx.array:
        scores = suppress(logits).astype(mx.float32) * (1.0 / temperature)
        scores = scores - mx.logsumexp(scores, axis=-1, keepdims=True)
        if 0 < top_k < scores.shape[-1]:
            scores = apply_top_k(scores, top_k)
        if top_p < 1.0:
            scores = apply_top_p(scores, top_p)
        return mx.random.categorical(scores, key=keys())

    return sample


def _suppressor(tokens: tuple[int, ...]) -> Callable[[mx.array], mx.array]:
    """Makes the tokens that ``suppress_tokens`` names impossible."""
    if not tokens:
        return lambda logits: logits

    def suppress(logits: mx.array) -> mx.array:
        columns = mx.array([token for token in tokens if token < logits.shape[-1]])
        never = mx.array(-mx.inf, logits.dtype)
        index = mx.broadcast_to(columns, (*logits.shape[:-1], columns.size))
        return mx.put_along_axis(logits, index, never, axis=-1)

    return suppress


def _keys(seed: int | None) -> Callable[[], mx.array | None]:
    """Random keys, one a step, split from the seed; None stands for MLX's global stream."""
    if seed is None:
        return lambda: None
    state = mx.random.key(seed)

    def next_key() -> mx.array:
        nonlocal state
        state, key = mx.random.split(state)
        return key

    return next_key
