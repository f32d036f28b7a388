"""What tokens are drawn with: the chances of each, exactly, and how often they come."""

import subprocess
import sys

import mlx.core as mx
import numpy as np
import pytest

from gemma4_mlx.generation.sampling import make_sampler, probabilities
from gemma4_mlx.generation_config import GenerationConfig
from tests.bench.graph import operations

DEFAULTS = GenerationConfig(eos_token_ids=(1,))
VOCABULARY = 262_144  # Gemma's


def by_definition(logits: np.ndarray, temperature: float, top_k: int, top_p: float) -> np.ndarray:
    """Chances (B, V) in float64, sorting everything: temperature, then top-k, then top-p."""
    rows = []
    for row in logits.astype(np.float64) / temperature:
        order = np.argsort(-row, kind="stable")[: top_k or None]
        chances = np.exp(row[order] - row[order[0]])
        chances /= chances.sum()
        before = np.cumsum(chances) - chances
        chances = np.where(before < top_p, chances, 0)
        dense = np.zeros(len(row))
        dense[order] = chances / chances.sum()
        rows.append(dense)
    return np.stack(rows)


def dense(logits: mx.array, temperature: float, top_k: int, top_p: float) -> np.ndarray:
    """The chances (B, V) that the sampler draws with, adding up to 1."""
    chances, ids = map(np.array, probabilities(logits, temperature, top_k, top_p))
    if ids.ndim == 0:  # None: there is no top-k
        ids = np.broadcast_to(np.arange(logits.shape[-1]), chances.shape)
    assert all(len(set(row)) == len(row) for row in ids)
    found = np.zeros(logits.shape)
    np.put_along_axis(found, ids.astype(np.int64), chances.astype(np.float64), axis=-1)
    return found / found.sum(axis=-1, keepdims=True)


def no_ties(rows: int, vocab: int, spread: float = 1.0) -> mx.array:
    """Logits as unlike as those of a model, all of a row different, in another order in each."""
    evenly = (np.arange(vocab) + 0.5) / vocab
    values = (spread * np.log(evenly / (1 - evenly))).astype(np.float32)
    assert len(np.unique(values)) == vocab
    draw = np.random.default_rng(vocab)
    return mx.array(np.stack([draw.permutation(values) for _ in range(rows)]))


def same(found: np.ndarray, expected: np.ndarray) -> bool:
    """The same tokens, but for chances that a float32 cannot hold, and the same chances."""
    kept = np.array_equal(found > 1e-30, expected > 1e-30)
    return kept and bool(np.abs(found - expected).max() < 1e-6)


@pytest.mark.parametrize("top_k", [0, 1, 2, 64, 1000])
@pytest.mark.parametrize("top_p", [1e-60, 0.3, 0.95, 1.0])
@pytest.mark.parametrize("temperature", [0.25, 1.0, 1.7])
@pytest.mark.parametrize("shape", [(3, 4096), (2, 5000), (1, 37), (2, 1)])
def test_the_chances_are_those_of_the_definition(
    shape: tuple[int, int], temperature: float, top_p: float, top_k: int
) -> None:
    logits = no_ties(*shape)
    expected = by_definition(np.array(logits), temperature, top_k, top_p)
    assert same(dense(logits, temperature, top_k, top_p), expected)


def test_and_at_gemmas_vocabulary() -> None:
    logits = no_ties(2, VOCABULARY)
    expected = by_definition(np.array(logits), 1.0, 64, 0.95)
    assert same(dense(logits, 1.0, 64, 0.95), expected)


@pytest.mark.parametrize("settings", [(1.0, 64, 0.95), (0.6, 20, 0.8), (1.5, 0, 0.9)])
def test_and_those_of_transformers(settings: tuple[float, int, float]) -> None:
    import torch
    from transformers.generation import logits_process as reference

    temperature, top_k, top_p = settings
    logits = no_ties(2, 4096)
    scores = torch.tensor(np.array(logits))
    warpers = [reference.TemperatureLogitsWarper(temperature)]
    warpers += [reference.TopKLogitsWarper(top_k)] if top_k else []
    for warper in [*warpers, reference.TopPLogitsWarper(top_p)]:
        scores = warper(torch.zeros(2, 1, dtype=torch.long), scores)
    expected = scores.softmax(-1).numpy()
    assert same(dense(logits, *settings), expected)


@pytest.mark.parametrize("vocab", [300, 4096])
def test_of_ties_at_the_last_place_k_remain_and_the_nucleus_keeps_all(vocab: int) -> None:
    """bfloat16 has eight bits of digits, so ties are common."""
    logits = mx.floor(no_ties(2, vocab)).astype(mx.bfloat16)
    chances, ids = probabilities(logits, 1.0, 50, 1.0)
    values = np.array(logits.astype(mx.float32))
    for row, columns in zip(values, np.array(ids), strict=True):
        assert np.array_equal(np.sort(row[columns]), np.sort(row)[-50:])
    assert (np.array(chances) > 0).all()

    flat, _ = probabilities(mx.zeros((1, 10)), 1.0, 0, 0.35)
    assert np.allclose(np.array(flat), 0.1)


@pytest.mark.parametrize("settings", [(64, 0.95), (64, 1.0), (0, 0.95), (0, 1.0)])
@pytest.mark.parametrize("vocab", [200, 4096])
def test_impossible_tokens_never_come(vocab: int, settings: tuple[int, float]) -> None:
    """Also where fewer than k are possible; and of a row of NaN comes some id of the vocabulary."""
    possible = mx.array([5, vocab - 1])
    logits = mx.full((2, vocab), -mx.inf)
    logits[:, possible] = mx.array([1.0, 1.5])
    logits[1] = mx.nan
    sampler = make_sampler(DEFAULTS, top_k=settings[0], top_p=settings[1], seed=1)
    seen = np.stack([np.array(sampler(logits)) for _ in range(40)])
    assert set(seen[:, 0].tolist()) == {5, vocab - 1}
    assert seen[:, 1].max() < vocab


@pytest.mark.parametrize("temperature", [1e-320, 1e-39, 1e-6])
def test_a_temperature_near_zero_is_greedy(temperature: float) -> None:
    logits = no_ties(4, 4096) + 100
    sampler = make_sampler(DEFAULTS, temperature=temperature, seed=1)
    assert np.array_equal(sampler(logits), mx.argmax(logits, axis=-1))


def test_ids_are_of_one_type() -> None:
    for settings in ({"temperature": 0}, {}, {"top_k": 0}):
        ids = make_sampler(DEFAULTS, **settings)(no_ties(3, 500))
        assert (ids.shape, ids.dtype) == ((3,), mx.uint32), settings


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"temperature": 0.7, "top_k": 20},
        {"temperature": 1.3, "top_p": 1.0},
        {"top_k": 0, "top_p": 0.6},
        {"top_k": 0, "top_p": 1.0},
    ],
)
def test_tokens_come_as_often_as_their_chances_say(settings: dict[str, float]) -> None:
    """A chi-square test on 200,000 draws of a fixed seed, every row with a draw of its own."""
    asked = {"temperature": 1.0, "top_k": 64, "top_p": 0.95} | settings
    logits, rows, times = no_ties(1, 1024), 2000, 100
    expected = by_definition(np.array(logits), **asked)[0] * rows * times  # type: ignore[arg-type]
    sampler = make_sampler(DEFAULTS, **asked, seed=5)  # type: ignore[arg-type]
    batch = mx.broadcast_to(logits, (rows, 1024))
    found = np.zeros(1024)
    for _ in range(times):
        found += np.bincount(np.array(sampler(batch)), minlength=1024)
    assert found[expected == 0].sum() == 0
    # Rare ones together: the test asks for five expected of a kind.
    often = expected >= 5
    kinds = [(found[often], expected[often])]
    if expected[~often].sum() >= 5:
        kinds.append((found[~often].sum(keepdims=True), expected[~often].sum(keepdims=True)))
    distance = sum(((seen - due) ** 2 / due).sum() for seen, due in kinds)
    freedom = sum(len(due) for _, due in kinds) - 1
    # It is distributed around the degrees of freedom with the square root of twice as many.
    assert freedom >= 10 and abs(distance - freedom) < 4 * np.sqrt(2 * freedom)


def test_little_looks_at_the_whole_vocabulary() -> None:
    """Of the operations, only the maxima of the blocks read all logits; nothing sorts them."""
    logits = no_ties(1, VOCABULARY)
    sizes: list[int] = []

    def watched(values: mx.array, *rest: object, **more: object) -> mx.array:
        sizes.append(values.shape[-1])
        return real(values, *rest, **more)  # type: ignore[arg-type]

    real = mx.argpartition
    mx.argpartition = watched
    try:
        probabilities(logits, 1.0, 64, 0.95)
    finally:
        mx.argpartition = real
    assert len(sizes) == 2 and max(sizes) <= 4096
    counted = operations(make_sampler(DEFAULTS, seed=1)(logits))
    assert counted.kinds["Sort"] == 1 and counted.total < 60


def test_sampling_does_without_mlx_lm() -> None:
    code = (
        "import sys, mlx.core as mx; from gemma4_mlx.generation.sampling import make_sampler;"
        "from gemma4_mlx.generation_config import GenerationConfig;"
        "make_sampler(GenerationConfig(eos_token_ids=(1,)))(mx.zeros((1, 100))).item();"
        "sys.exit('mlx_lm' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
