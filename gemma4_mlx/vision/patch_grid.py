"""Where the patches of an image lie, worked out on the host before any tensor is touched.

An image of any aspect ratio is a full grid of W × H patches whose sides are multiples of the
pooling kernel k; images of a batch are padded to one length with patches at (−1, −1). Position
ids come from the image processor on the host, so reading them costs nothing, and everything
that depends on them is decided here: which patches are real, how many tokens come out, and
which k × k patches make up each token. A position outside the model's table is an error here;
MLX would read past the end of the table without a word.
"""

from dataclasses import dataclass

import numpy as np

from gemma4_mlx.errors import InputError


@dataclass(frozen=True)
class PatchGrid:
    """One image: its sides in patches, and its patches listed cell by cell.

    ``order`` holds W·H indices into the padded patch axis. Each run of k² of them is one cell of
    the pooling, that is one soft token; cells go row by row from the top left.
    """

    width: int
    height: int
    order: np.ndarray


def read_patch_grids(position_ids: np.ndarray, kernel: int, table_size: int) -> list[PatchGrid]:
    """The grid of every image of a batch.

    ``position_ids`` is (N, P, 2) with (x, y) per patch and (−1, −1) for padding; ``kernel`` is
    the pooling kernel, ``table_size`` the number of positions the model knows per axis.
    Raises InputError for an image without patches, outside the table, or that is no full grid.
    """
    return [
        _read_grid(index, positions, kernel, table_size)
        for index, positions in enumerate(position_ids.astype(np.int64))
    ]


def _read_grid(index: int, positions: np.ndarray, kernel: int, table_size: int) -> PatchGrid:
    real = np.flatnonzero((positions != -1).any(axis=-1))
    if real.size == 0:
        raise InputError(
            f"image {index} has no patches (all positions are −1), expected at least "
            f"{kernel * kernel}; leave it out of the batch"
        )
    x, y = positions[real].T
    if min(x.min(), y.min()) < 0:
        raise InputError(
            f"image {index} has a patch at a negative position, expected x and y from 0 on, "
            "or (−1, −1) for padding"
        )
    width, height = int(x.max()) + 1, int(y.max()) + 1
    if max(width, height) > table_size:
        raise InputError(
            f"image {index} reaches patch position {max(width, height) - 1}, but this model "
            f"knows positions 0 to {table_size - 1}; make the picture smaller"
        )
    is_full = real.size == width * height and np.unique(y * width + x).size == real.size
    if not is_full or width % kernel or height % kernel:
        raise InputError(
            f"image {index} has {real.size} patches on a grid of {width}×{height}, expected every "
            f"position once and sides that are multiples of {kernel}; resize the picture"
        )
    cell = (y // kernel) * (width // kernel) + x // kernel
    return PatchGrid(width, height, order=real[np.argsort(cell, kind="stable")])
