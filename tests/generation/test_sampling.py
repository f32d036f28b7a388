"""Greedy and random choice of tokens."""

from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from gemma4_mlx.errors import InputError
from gemma4_mlx.generation.sampling import make_sampler
from gemma4_mlx.generation_config import GenerationConfig

DEFAULTS = GenerationConfig(eos_token_ids=(1,))


def logits(rows: int = 1, vocab: int = 100) -> mx.array:
    return mx.random.normal((rows, vocab), key=mx.random.key(3))


def drawn(sampler, values: mx.array, times: int = 200) -> set[int]:  # type: ignore[no-untyped-def]
    return {int(token) for _ in range(times) for token in np.array(sampler(values))}


def test_temperature_zero_is_the_most_likely() -> None:
    values = logits(3)
    chosen = make_sampler(DEFAULTS, temperature=0)(values)
    assert np.array_equal(chosen, np.argmax(np.array(values), axis=-1))


def test_do_sample_false_is_greedy_unless_a_temperature_is_given() -> None:
    config = GenerationConfig(eos_token_ids=(1,), do_sample=False)
    assert len(drawn(make_sampler(config), logits(), 20)) == 1
    assert len(drawn(make_sampler(config, temperature=1.0), logits())) > 1


def test_top_k_keeps_the_k_most_likely() -> None:
    best = set(np.argsort(-np.array(logits())[0])[:4].tolist())
    assert drawn(make_sampler(DEFAULTS, top_k=4, top_p=1.0), logits()) == best


def test_the_default_is_googles_top_k_of_64() -> None:
    flat = mx.zeros((1, 100)) + mx.arange(100) * 1e-4
    seen = drawn(make_sampler(DEFAULTS, top_p=1.0), flat, 2000)
    assert min(seen) >= 36 and len(seen) > 55


def test_top_p_is_taken_at_the_temperature_asked_for() -> None:
    """Half of the mass is one token at temperature 0.5, but not at 2: the order matters."""
    values = mx.log(mx.array([[0.4, 0.3, 0.2, 0.1]]))
    cold = make_sampler(DEFAULTS, temperature=0.5, top_p=0.5, top_k=0)
    hot = make_sampler(DEFAULTS, temperature=2.0, top_p=0.5, top_k=0)
    assert drawn(cold, values) == {0}
    assert drawn(hot, values) == {0, 1}


def test_a_top_k_larger_than_the_vocabulary_is_no_filter() -> None:
    assert drawn(make_sampler(DEFAULTS, top_k=1000, top_p=1.0), mx.zeros((1, 3))) == {0, 1, 2}


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_suppressed_tokens_never_come(temperature: float) -> None:
    config = GenerationConfig(eos_token_ids=(1,), suppress_tokens=(7, 2, 999_999))
    values = mx.zeros((2, 10)) + mx.where(mx.arange(10) == 7, 9.0, 0.0)
    assert drawn(make_sampler(config, temperature=temperature), values).isdisjoint({7, 2})


def test_a_seed_gives_the_same_again_whatever_else_draws() -> None:
    values, runs = logits(), []
    for _ in range(2):
        sampler = make_sampler(DEFAULTS, seed=11)
        runs.append([sampler(values).item() for _ in range(20)])
        mx.random.normal((5,))
    assert runs[0] == runs[1]
    other = make_sampler(DEFAULTS, seed=12)
    assert [other(values).item() for _ in range(20)] != runs[0]


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": -0.1},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"top_k": -1},
        {"top_k": 2.5},
        {"seed": -1},
        {"seed": 2**64},
        {"temperature": "x"},
        {"temperature": True},
        {"top_p": [0.9]},
        {"top_k": "64"},
        {"seed": "a"},
        {"seed": 1.5},
    ],
)
def test_values_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    name, value = next(iter(settings.items()))
    with pytest.raises(InputError, match=name) as error:
        make_sampler(DEFAULTS, **settings)
    assert str(value) in str(error.value)


def test_numbers_of_numpy_are_numbers() -> None:
    settings = {"temperature": np.float32(0.5), "top_k": np.int64(2), "seed": np.uint8(3)}
    assert len(drawn(make_sampler(DEFAULTS, **settings), logits(), 20)) <= 2  # type: ignore[arg-type]
