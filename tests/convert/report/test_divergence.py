"""Sums over blocks of the vocabulary against the definitions, written out in float64."""

from collections.abc import Callable
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from gemma4_convert.report import divergence
from gemma4_convert.report.divergence import Asked, Predictions, predictions
from gemma4_convert.report.streamed_table import StreamedTable
from gemma4_convert.report.variants import load_variants
from tests import goldens
from tests.reference.checkpoints import read_weights

TOKENS, HIDDEN, VOCABULARY = 7, 16, 900


class Table:
    """An embedding in memory."""

    def __init__(self, rows: np.ndarray):
        self.rows, self.height = rows, len(rows)

    def block(self, start: int, stop: int) -> mx.array:
        return mx.array(self.rows[start:stop])


def log_softmax(hidden: np.ndarray, rows: np.ndarray, cap: float | None) -> np.ndarray:
    logits = hidden.astype(np.float64) @ rows.astype(np.float64).T
    if cap is not None:
        logits = cap * np.tanh(logits / cap)
    return (
        logits
        - np.log(np.exp(logits - logits.max(-1, keepdims=True)).sum(-1, keepdims=True))
        - (logits.max(-1, keepdims=True))
    )


@pytest.fixture
def random(monkeypatch: pytest.MonkeyPatch) -> Callable[..., np.ndarray]:
    monkeypatch.setattr(divergence, "_BLOCK_SIZE", 1)  # blocks as small as they get: 256 rows
    state = np.random.RandomState(5)
    return lambda *shape: state.standard_normal(shape).astype(np.float32)


def run(
    ours: tuple[np.ndarray, np.ndarray],
    theirs: tuple[np.ndarray, np.ndarray],
    targets: np.ndarray,
    places: np.ndarray,
    cap: float | None,
) -> dict[str, Predictions]:
    asked = {
        "source": Asked(mx.array(ours[0]), np.arange(len(targets)), Table(ours[1])),
        "result": Asked(mx.array(theirs[0]), places, Table(theirs[1])),
    }
    return predictions(asked, targets, cap, lambda done, total: None)  # type: ignore[arg-type]


@pytest.mark.parametrize("cap", [None, 30.0])
def test_as_defined(cap: float | None, random: Callable[..., np.ndarray]) -> None:
    hidden, rows = 3 * random(TOKENS, HIDDEN), random(VOCABULARY, HIDDEN)
    other, other_rows = hidden + 0.3 * random(TOKENS, HIDDEN), rows + 0.1 * random(*rows.shape)
    targets = np.array([0, 255, 256, 600, 767, 768, 899])
    found = run((hidden, rows), (other, other_rows), targets, np.arange(TOKENS), cap)

    p, q = log_softmax(hidden, rows, cap), log_softmax(other, other_rows, cap)
    assert np.allclose(found["result"].kl, (np.exp(p) * (p - q)).sum(-1), rtol=1e-4, atol=1e-6)
    assert (found["source"].kl == 0).all()
    for name, expected in (("source", p), ("result", q)):
        assert (found[name].first_choice == expected.argmax(-1)).all()
        at_targets = expected[np.arange(TOKENS), targets]
        assert np.allclose(found[name].surprise, -at_targets, rtol=1e-5)


def test_the_same_predictions_diverge_by_nothing(random: Callable[..., np.ndarray]) -> None:
    same = random(TOKENS, HIDDEN), random(VOCABULARY, HIDDEN)
    found = run(same, same, np.arange(TOKENS), np.arange(TOKENS), 30.0)
    assert (found["result"].kl == 0).all()
    assert (found["result"].surprise == found["source"].surprise).all()


def test_small_divergences_are_not_lost_in_rounding(random: Callable[..., np.ndarray]) -> None:
    """KL of 1e-5 under logits around 20."""
    hidden, rows = 5 * random(TOKENS, HIDDEN), random(VOCABULARY, HIDDEN)
    other = hidden + 2e-3 * random(TOKENS, HIDDEN)
    found = run((hidden, rows), (other, rows), np.arange(TOKENS), np.arange(TOKENS), None)
    p, q = log_softmax(hidden, rows, None), log_softmax(other, rows, None)
    exact = (np.exp(p) * (p - q)).sum(-1)
    assert exact.mean() < 1e-4
    assert np.abs(found["result"].kl - exact).max() < 2e-6


def test_what_was_not_asked_is_as_the_source_says(random: Callable[..., np.ndarray]) -> None:
    hidden, rows = random(TOKENS, HIDDEN), random(VOCABULARY, HIDDEN)
    places = np.array([1, 4])
    found = run((hidden, rows), (-hidden[places], rows), np.arange(TOKENS), places, 30.0)
    assert (np.flatnonzero(found["result"].kl) == places).all()
    untouched = np.setdiff1d(np.arange(TOKENS), places)
    for column in ("first_choice", "surprise"):
        mine, base = getattr(found["result"], column), getattr(found["source"], column)
        assert (mine[untouched] == base[untouched]).all()


def test_not_a_number_stays_one(random: Callable[..., np.ndarray]) -> None:
    hidden, rows = random(TOKENS, HIDDEN), random(VOCABULARY, HIDDEN)
    broken = hidden.copy()
    broken[2] = np.nan
    found = run((hidden, rows), (broken, rows), np.arange(TOKENS), np.arange(TOKENS), 30.0)
    assert np.flatnonzero(np.isnan(found["result"].kl)).tolist() == [2]


@pytest.mark.parametrize("family", ["e2b", "31b"])
def test_a_table_read_in_blocks(family: str) -> None:
    path: Path = goldens.checkpoint(family)
    table = load_variants(path, path)["source"].table
    assert isinstance(table, StreamedTable)
    name = next(name for name in read_weights(path) if name.endswith("embed_tokens.weight"))
    weight = read_weights(path)[name].astype(mx.float32)
    assert table.height == weight.shape[0]
    blocks = [table.block(start, min(start + 50, table.height)) for start in range(0, 128, 50)]
    assert mx.array_equal(mx.concatenate(blocks), weight)
    ids = mx.array([[5, 127, 0], [5, 1, 2]])
    assert mx.array_equal(table(ids), weight[ids])
