"""Drawing one token from a vocabulary of 262,144: our sampler beside those of mlx-lm and mlx-vlm.

Each is what its engine's own loop runs on the logits of a step, with the settings that Gemma 4's
card asks for: the peers' samplers take log chances, so the logarithm of the sum belongs to them,
and they filter in another order (before the temperature). All draw from the same random logits in
one process, by turns; a figure is the median over the turns.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import mlx.core as mx

from gemma4_mlx.generation.loop import Sampler
from gemma4_mlx.generation.sampling import make_sampler
from gemma4_mlx.generation_config import GenerationConfig
from tests.bench import graph
from tests.bench.side_by_side import milliseconds, ratio

VOCABULARY = 262_144
TURNS = 8  # for each round of the other sections


@dataclass(frozen=True)
class Settings:
    """How to choose a token, under the name of a row."""

    title: str
    temperature: float
    top_k: int
    top_p: float


SETTINGS = (
    Settings("the card's: 1, 64, 0.95", 1.0, 64, 0.95),
    Settings("cooler: 0.7, 20, 0.8", 0.7, 20, 0.8),
    Settings("without top-k: 1, 0, 0.95", 1.0, 0, 0.95),
    Settings("no filter: 1, 0, 1", 1.0, 0, 1.0),
    Settings("greedy: 0", 0.0, 64, 0.95),
)


def ours(settings: Settings) -> Sampler:
    return make_sampler(
        GenerationConfig(eos_token_ids=(1,)),
        temperature=settings.temperature,
        top_k=settings.top_k,
        top_p=settings.top_p,
    )


def mlx_lm(settings: Settings) -> Sampler:
    from mlx_lm.sample_utils import make_sampler as theirs

    return _of_logits(theirs(settings.temperature, settings.top_p, top_k=settings.top_k))


def mlx_vlm(settings: Settings) -> Sampler:
    from mlx_vlm.sample_utils import make_sampler as theirs

    return _of_logits(theirs(settings.temperature, settings.top_p, top_k=settings.top_k))


def _of_logits(sampler: Sampler) -> Sampler:
    return lambda logits: sampler(logits - mx.logsumexp(logits, axis=-1, keepdims=True))


ENGINES: dict[str, Callable[[Settings], Sampler]] = {
    "ours": ours,
    "mlx-lm": mlx_lm,
    "mlx-vlm": mlx_vlm,
}


def section(engines: Sequence[str], turns: int) -> Iterator[str]:
    """Markdown: milliseconds and operations of every engine for each of the settings."""
    peers = [engine for engine in engines if engine != "ours"]
    ratios = [f"ours / {peer}" for peer in peers] if "ours" in engines else []
    yield f"| {' | '.join(['temperature, top-k, top-p', 'measured', *engines, *ratios])} |"
    yield "|---|---|" + "---:|" * (len(engines) + len(ratios))
    logits = 3 * mx.random.normal((1, VOCABULARY), key=mx.random.key(0))
    mx.eval(logits)
    for settings in SETTINGS:
        samplers = {engine: ENGINES[engine](settings) for engine in engines}
        seconds = _seconds(samplers, logits, turns)
        counts = {engine: _operations(samplers[engine], logits) for engine in engines}
        for title, found, show in (
            ("ms a token", seconds, milliseconds),
            ("operations", counts, lambda count: f"{count:.0f}"),
        ):
            cells = [settings.title, title, *(show(found[engine]) for engine in engines)]
            cells += [ratio(found["ours"], found[peer]) for peer in peers if ratios]
            yield f"| {' | '.join(cells)} |"


def _seconds(samplers: dict[str, Sampler], logits: mx.array, turns: int) -> dict[str, float]:
    taken: dict[str, list[float]] = {engine: [] for engine in samplers}
    for turn in range(turns + 1):  # the first compiles
        for engine in sorted(samplers, reverse=turn % 2 == 1):
            start = time.perf_counter()
            mx.eval(samplers[engine](logits))
            if turn:
                taken[engine].append(time.perf_counter() - start)
    return {engine: statistics.median(times) for engine, times in taken.items()}


def _operations(sampler: Sampler, logits: mx.array) -> float:
    mx.eval(mx.random.state)  # else the graph begins where the random stream began
    return float(graph.operations(sampler(logits)).total)
