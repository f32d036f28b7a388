"""How fast a model runs here: prefill, decoding, the host's share of it, memory.

Measured as mlx-lm's benchmark measures: a prompt of random ids, greedy decoding that no end of
turn stops, one run to warm up and then some trials; a prompt's rate counts up to the first token.
The one deviation: mlx-lm divides all tokens by the time after the first one, here the first is
left out on both sides.

The host's time for a token is the processor time of this thread: building a step's graph and
handing it over, without what it waits for the device. A device that computes a step faster than
the host builds it waits for the host.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

import mlx.core as mx
import numpy as np

from gemma4_mlx.errors import InputError
from gemma4_mlx.generation.arguments import whole_number
from gemma4_mlx.generation.loop import generate_tokens
from gemma4_mlx.generation.working_set import working_set
from gemma4_mlx.model import Gemma4Model

# Of the run that warms up: weights are read, and the layers of a step compiled, which a CPU does
# not do before some steps.
_WARM_UP_TOKENS = 8
_SEED = 0


@dataclass(frozen=True)
class Trial:
    """One prompt and its reply. Times are seconds, rates tokens a second, sizes bytes.

    ``host_time`` is the median over the steps; ``peak_memory`` the most that MLX held, weights
    included; ``kv_bytes`` what keys and values took in the end.
    """

    prompt_tokens: int
    generated_tokens: int
    time_to_first_token: float
    decode_seconds: float
    host_time: float
    peak_memory: int
    kv_bytes: int

    @property
    def prefill_tps(self) -> float:
        return self.prompt_tokens / self.time_to_first_token

    @property
    def decode_tps(self) -> float:
        return (self.generated_tokens - 1) / self.decode_seconds


@dataclass(frozen=True)
class Figures:
    """The trials with prompts of one length; each figure is their median, memory their most."""

    trials: tuple[Trial, ...]

    @property
    def prompt_tokens(self) -> int:
        return self.trials[0].prompt_tokens

    @property
    def generated_tokens(self) -> int:
        return self.trials[0].generated_tokens

    @property
    def prefill_tps(self) -> float:
        return median(trial.prefill_tps for trial in self.trials)

    @property
    def decode_tps(self) -> float:
        return median(trial.decode_tps for trial in self.trials)

    @property
    def time_to_first_token(self) -> float:
        return median(trial.time_to_first_token for trial in self.trials)

    @property
    def host_time(self) -> float:
        return median(trial.host_time for trial in self.trials)

    @property
    def peak_memory(self) -> int:
        return max(trial.peak_memory for trial in self.trials)

    @property
    def kv_bytes(self) -> int:
        return max(trial.kv_bytes for trial in self.trials)


def benchmark(
    model: Gemma4Model,
    prompt_tokens: Sequence[int],
    *,
    generated_tokens: int = 128,
    trials: int = 3,
    prefill_step_size: int = 2048,
    kv_bits: int | None = None,
    on_trial: Callable[[int, int], None] | None = None,
) -> Iterator[Figures]:
    """Measure prompts of these lengths, one after another; yields the figures of each.

    ``kv_bits=8`` keeps the global layers of the cache in 8 bits. ``on_trial(length, number)`` is
    called before every trial, number 0 being the warm-up. Raises InputError, before anything runs,
    for lengths beyond the model's context and for ``kv_bits`` that it cannot have.
    """
    whole_number("generated_tokens", generated_tokens, 2)
    model.make_cache(kv_bits)  # wrong bits show here
    whole_number("trials", trials, 1)
    whole_number("prefill_step_size", prefill_step_size, 1)
    for length in prompt_tokens:
        check_length(model, length, generated_tokens)
    return (
        _measure(model, length, generated_tokens, trials, prefill_step_size, kv_bits, on_trial)
        for length in prompt_tokens
    )


def check_length(model: Gemma4Model, prompt_tokens: int, generated_tokens: int) -> None:
    """InputError unless a prompt and a reply of these lengths fit the model's context."""
    whole_number("prompt_tokens", prompt_tokens, 1)
    context = model.config.text.max_position_embeddings
    if prompt_tokens + generated_tokens > context:
        raise InputError(
            f"a prompt of {prompt_tokens} tokens and a reply of {generated_tokens} do not fit this "
            f"model's context of {context}: ask for less"
        )


def random_prompt(model: Gemma4Model, length: int) -> list[int]:
    """Ids drawn from the vocabulary, always the same; none is a placeholder of media."""
    ids = np.arange(model.config.text.vocab_size)
    ids = ids[~np.isin(ids, list(model.config.placeholders))]
    drawn: list[int] = np.random.default_rng(_SEED).choice(ids, length).tolist()
    return drawn


def _measure(
    model: Gemma4Model,
    prompt_tokens: int,
    generated_tokens: int,
    trials: int,
    prefill_step_size: int,
    kv_bits: int | None,
    on_trial: Callable[[int, int], None] | None,
) -> Figures:
    prompt = random_prompt(model, prompt_tokens)
    measured = []
    for number in range(trials + 1):
        if on_trial is not None:
            on_trial(prompt_tokens, number)
        room = model.config.text.max_position_embeddings - prompt_tokens
        tokens = generated_tokens if number else min(_WARM_UP_TOKENS, room)
        with working_set(model):
            trial = _run(model, prompt, tokens, prefill_step_size, kv_bits)
        if number:
            measured.append(trial)
    return Figures(tuple(measured))


def _run(
    model: Gemma4Model,
    prompt: Sequence[int],
    generated_tokens: int,
    prefill_step_size: int,
    kv_bits: int | None,
) -> Trial:
    mx.synchronize()
    mx.clear_cache()
    mx.reset_peak_memory()
    cache = model.make_cache(kv_bits)
    host = []
    start = time.perf_counter()
    tokens = generate_tokens(
        model,
        {"input_ids": mx.array([prompt])},
        cache,
        lambda logits: mx.argmax(logits, axis=-1),
        max_tokens=generated_tokens,
        prefill_step_size=prefill_step_size,
    )
    next(tokens)
    first = time.perf_counter()
    for _ in range(generated_tokens - 1):
        before = time.thread_time()
        next(tokens)
        host.append(time.thread_time() - before)
    end = time.perf_counter()
    # The last token is only waited for: its step has no further one to build.
    return Trial(
        prompt_tokens=len(prompt),
        generated_tokens=generated_tokens,
        time_to_first_token=first - start,
        decode_seconds=end - first,
        host_time=median(host[:-1] or host),
        peak_memory=mx.get_peak_memory(),
        kv_bytes=cache.nbytes,
    )
