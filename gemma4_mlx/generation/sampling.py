"""Choosing the next token: temperature, top-k, top-p, or simply the most likely one.

Gemma 4's card asks for temperature 1.0, top-k 64 and top-p 0.95 in all uses; the numbers are read
from ``generation_config.json``. The temperature comes first, then top-k, then top-p, which is the
order of the reference implementation (mlx-lm filters at temperature 1 and cools afterwards, so its
nucleus differs).

A temperature changes no ranks, so the k most likely tokens are picked first of all, and everything
else works on k numbers instead of a vocabulary of 262,144. Picking them takes one pass over the
vocabulary (``_most_likely``).

Deviation: of tokens that tie for the last place of the k, the reference keeps all and may exceed
k; here k remain. Those that tie for the last place of the nucleus all stay in it.
"""

import math
from collections.abc import Callable

import mlx.core as mx

from gemma4_mlx.errors import InputError
from gemma4_mlx.generation.arguments import number, whole_number
from gemma4_mlx.generation.loop import Sampler
from gemma4_mlx.generation_config import GenerationConfig

# Colder than 1 / this is as good as greedy, and a float32 holds any logit times this.
_SHARPEST = 1e30


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

    keys = _keys(seed)

    def sample(logits: mx.array) -> mx.array:
        chances, ids = probabilities(suppress(logits), temperature, top_k, top_p)
        drawn = _draw(chances, keys())
        if ids is None:
            return drawn.squeeze(-1).astype(mx.uint32)
        return mx.take_along_axis(ids, drawn, axis=-1).squeeze(-1)

    return sample


def probabilities(
    logits: mx.array, temperature: float, top_k: int, top_p: float
) -> tuple[mx.array, mx.array | None]:
    """What is drawn from: the chances (B, k) of the k most likely tokens, and their ids (B, k).

    Logits are (B, V). Without a top-k there are V chances and no ids: they are 0, 1, 2 …
    Tokens outside of the nucleus have a chance of 0; what the others have adds up to top_p or more.
    """
    ids = None
    if 0 < top_k < logits.shape[-1]:
        logits, ids = _most_likely(logits, top_k)
    scores = logits.astype(mx.float32)
    if temperature != 1:
        scores = scores * min(1 / temperature, _SHARPEST)
    chances = mx.softmax(scores, axis=-1)
    return (_nucleus(chances, top_p) if top_p < 1 else chances), ids


def _most_likely(logits: mx.array, k: int) -> tuple[mx.array, mx.array]:
    """The k largest of each row (B, V) in no order, and their columns: both (B, k).

    Only a block whose best is among the k best of all blocks can hold one of the k largest. So a
    maximum over every block is all that looks at the whole row, and partitioning, which is many
    passes (and on a GPU a sort), sees the blocks' maxima, then k blocks. Block i holds the columns
    i, i + n, i + 2n … for n blocks.
    """
    batch, width = logits.shape
    size = _block_size(width, k)
    if size == 1:
        return _partition(logits, k)
    blocks = logits.reshape(batch, size, -1)
    _, best = _partition(blocks.max(axis=1), k)
    inside = mx.take_along_axis(blocks, best[:, None, :], axis=-1).reshape(batch, -1)
    values, places = _partition(inside, k)
    columns = mx.take_along_axis(best, places % k, axis=-1) + places // k * blocks.shape[-1]
    return values, columns


def _block_size(width: int, k: int) -> int:
    """A power of two that divides the row and makes about as many blocks as k of them hold numbers.

    1 where partitioning would hardly see less: for a short row, a large k or an odd width.
    """
    size = 2 ** int(math.log2(math.sqrt(width / k)))
    while width % size:
        size //= 2
    return size if 2 * (width // size + k * size) <= width else 1


def _partition(values: mx.array, k: int) -> tuple[mx.array, mx.array]:
    """The k largest of each row and their columns, looking at all."""
    columns = mx.argpartition(values, kth=-k, axis=-1)[:, -k:]
    return mx.take_along_axis(values, columns, axis=-1), columns


def _nucleus(chances: mx.array, top_p: float) -> mx.array:
    """0 for all (B, n) but the likeliest that make up ``top_p``.

    A token stays when those before it have less than ``top_p`` together: the most likely one
    always does, and the one that crosses ``top_p`` too.
    """
    ranked = mx.sort(chances, axis=-1)  # ascending, so what lies above is a sum from the end
    above = mx.cumsum(ranked, axis=-1, reverse=True, inclusive=False)
    # A float32 has no smaller top_p, and with 0 nothing would stay.
    outside = above >= max(top_p, mx.finfo(mx.float32).smallest_normal)
    least = mx.take_along_axis(ranked, outside.sum(axis=-1, keepdims=True), axis=-1)
    return mx.where(chances < least, 0, chances)


def _draw(chances: mx.array, key: mx.array | None) -> mx.array:
    """A column of each row (B, n), in proportion to what it holds, which need not add up to 1.

    One random number a row falls somewhere on the chances laid end to end. (What
    ``mx.random.categorical`` does too, which begins with logits.)
    """
    ends = mx.cumsum(chances, axis=-1)
    # The place is before the last end, however the product is rounded, and so never in a column
    # of chance 0.
    place = mx.random.uniform(0, 1 - 2**-22, (len(chances), 1), key=key) * ends[:, -1:]
    return (ends <= place).sum(axis=-1, keepdims=True)


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
