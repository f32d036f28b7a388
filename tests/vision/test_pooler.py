"""k × k patches become one token, in float32, by position."""

import mlx.core as mx
import numpy as np
import pytest

from gemma4_mlx.vision.patch_grid import read_patch_grids
from gemma4_mlx.vision.pooler import pool_patches, standardize
from tests.vision.tiny_towers import SMALL, make_pictures
from tests.vision.tower_weights import largest_difference


def test_means_by_hand() -> None:
    # Each patch holds x + 100·y in all 4 numbers: the mean of a 3 × 3 cell is its centre's.
    _, positions = make_pictures(SMALL, [(3, 2)], length=60)
    [grid] = read_patch_grids(np.array(positions), kernel=3, table_size=64)
    values = positions[0, :, :1] + 100 * positions[0, :, 1:]
    tokens = pool_patches(mx.broadcast_to(values, (60, 4)), grid, kernel=3)
    centres = [101, 104, 107, 401, 404, 407]
    assert tokens.dtype == mx.float32
    np.testing.assert_allclose(np.array(tokens)[:, 0] / 2, centres, rtol=1e-6)  # √4 = 2


@pytest.mark.parametrize(
    ("budget", "grid"),
    [(70, (10, 7)), (140, (4, 35)), (280, (16, 17)), (560, (28, 20)), (1120, (1, 1120))],
)
def test_every_budget_equals_transformers(budget: int, grid: tuple[int, int]) -> None:
    torch = pytest.importorskip("torch", reason="the comparison with transformers needs torch")
    from transformers.models.gemma4.configuration_gemma4 import Gemma4VisionConfig
    from transformers.models.gemma4.modeling_gemma4 import Gemma4VisionPooler

    _, positions = make_pictures(SMALL, [grid], length=9 * budget)
    [read] = read_patch_grids(np.array(positions), kernel=3, table_size=10_240)
    x = mx.random.normal((9 * budget, 8))
    theirs_positions = torch.tensor(np.array(positions)).long()
    pooler = Gemma4VisionPooler(Gemma4VisionConfig(hidden_size=8))
    theirs, valid = pooler(
        torch.tensor(np.array(x))[None],
        theirs_positions,
        (theirs_positions == -1).all(dim=-1),
        output_length=budget,
    )
    ours = pool_patches(x, read, kernel=3)
    assert ours.shape == (grid[0] * grid[1], 8)
    assert largest_difference([ours], [theirs[valid]]) <= 1e-5


def test_standardize_by_hand() -> None:
    bias, scale = mx.array([1.0, -2.0]), mx.array([10.0, 0.5])
    tokens = standardize(mx.array([[3.0, 4.0]]), bias.astype(mx.bfloat16), scale)
    assert tokens.dtype == mx.float32
    assert tokens.tolist() == [[20.0, 3.0]]
