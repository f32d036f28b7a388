"""The ways of sending tokens to experts give the same sums, token by token."""

import mlx.core as mx
import mlx.nn as nn
import pytest

from gemma4_mlx.text import moe
from gemma4_mlx.text.moe import ExpertMLPs

EXPERTS, TOP_K, HIDDEN, WIDTH = 6, 3, 24, 10
BATCH, LENGTH = 2, 45


def mlps() -> ExpertMLPs:
    made = ExpertMLPs(EXPERTS, HIDDEN, WIDTH)
    for linear in (made.gate_proj, made.up_proj, made.down_proj):
        linear.weight = mx.random.normal(linear.weight.shape)
    return made


def one_by_one(made: ExpertMLPs, x: mx.array, chosen: mx.array) -> mx.array:
    """Every choice by itself: (B, L, k, hidden)."""
    gate, up, down = (
        linear.weight[chosen] for linear in (made.gate_proj, made.up_proj, made.down_proj)
    )
    tokens = x[:, :, None, :, None]
    inner = nn.gelu_approx(gate @ tokens) * (up @ tokens)
    return (down @ inner)[..., 0]


def choices(kind: str) -> mx.array:
    if kind == "one expert gets all":
        return mx.zeros((BATCH, LENGTH, TOP_K), dtype=mx.uint32) + mx.arange(2, 2 + TOP_K)
    scores = mx.random.normal((BATCH, LENGTH, EXPERTS))
    if kind == "an expert gets nothing":
        scores = mx.where(mx.arange(EXPERTS) == EXPERTS - 1, scores, -9.0 + scores)
        scores = mx.where(mx.arange(EXPERTS) == 0, -99.0, scores)
    return mx.argpartition(-scores, TOP_K - 1, axis=-1)[..., :TOP_K]


@pytest.mark.parametrize("kind", ["any", "one expert gets all", "an expert gets nothing"])
@pytest.mark.parametrize("tile", [None, 1, 4, 7, 11])
def test_tiles_of_tokens_give_what_each_token_gives(
    monkeypatch: pytest.MonkeyPatch, tile: int | None, kind: str
) -> None:
    """Without tiles they are sorted, as on Metal."""
    monkeypatch.setattr(moe, "_TILE", tile or moe._TILE)
    monkeypatch.setattr(moe, "_LEAST_TILE", 1 if tile else LENGTH)
    made, chosen = mlps(), choices(kind)
    x = mx.random.normal((BATCH, LENGTH, HIDDEN))
    found = made(x, chosen)
    assert found.shape == (BATCH, LENGTH, TOP_K, HIDDEN)
    expected = one_by_one(made, x, chosen)
    assert mx.abs(found - expected).max() <= 1e-5 * mx.abs(expected).max()


def test_tiles_hold_every_choice_once_and_one_expert_each() -> None:
    chosen = choices("any")
    tokens, owners, places = moe._tiles(chosen, EXPERTS, 4)
    assert tokens.shape[0] == owners.size == BATCH * LENGTH * TOP_K // 4 + EXPERTS
    assert len(set(places.tolist())) == chosen.size
    assert mx.array_equal(owners[places // 4], chosen.flatten())
    assert mx.array_equal(tokens.flatten()[places], mx.arange(chosen.size) // TOP_K)
