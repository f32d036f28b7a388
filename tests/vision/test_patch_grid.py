"""Grids are read from positions; what is no full grid inside the table is refused."""

import numpy as np
import pytest

from gemma4_mlx.errors import InputError
from gemma4_mlx.vision.patch_grid import read_patch_grids


def positions(width: int, height: int, padding: int = 0) -> np.ndarray:
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    grid = np.stack([x.ravel(), y.ravel()], axis=-1)
    return np.pad(grid, [(0, padding), (0, 0)], constant_values=-1)


def test_patches_are_listed_cell_by_cell() -> None:
    [grid] = read_patch_grids(positions(4, 2, padding=3)[None], kernel=2, table_size=8)
    assert (grid.width, grid.height) == (4, 2)
    # Row 0 of the picture is 0 1 2 3, row 1 is 4 5 6 7.
    assert grid.order.tolist() == [0, 1, 4, 5, 2, 3, 6, 7]


@pytest.mark.parametrize(
    ("grid", "complaint"),
    [
        (positions(9, 3), "position 8, but this model knows positions 0 to 7"),
        (positions(4, 3), "12 patches on a grid of 4×3"),
        (positions(3, 3)[:8], "8 patches on a grid of 3×3"),
        (np.concatenate([positions(3, 3)[:8], [[0, 0]]]), "9 patches on a grid of 3×3"),
        (np.array([[-1, 2]]), "negative position"),
        (np.full((9, 2), -1), "no patches"),
    ],
)
def test_what_is_no_full_grid_is_refused(grid: np.ndarray, complaint: str) -> None:
    good = np.pad(positions(3, 3), [(0, len(grid)), (0, 0)], constant_values=-1)
    bad = np.pad(grid, [(0, len(good) - len(grid)), (0, 0)], constant_values=-1)
    with pytest.raises(InputError, match="image 1") as refusal:
        read_patch_grids(np.stack([good, bad]), kernel=3, table_size=8)
    assert complaint in str(refusal.value)
    assert "\n" not in str(refusal.value)
