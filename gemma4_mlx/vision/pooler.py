"""Nine patches become one token: the mean of every 3 × 3 cell of the grid, × sqrt(hidden).

Patches are gathered by their position, not by their place in the sequence, so padding falls away
and the order in which patches were listed does not matter. The mean and the scale are float32:
the big tower's features leave the range of float16 here and come back only when they are
standardized.
"""

import math

import mlx.core as mx

from gemma4_mlx.vision.patch_grid import PatchGrid


def pool_patches(x: mx.array, grid: PatchGrid, kernel: int) -> mx.array:
    """Patches (P, hidden) of one image → tokens (W·H / kernel², hidden) in float32."""
    hidden = x.shape[-1]
    cells = x[mx.array(grid.order)].reshape(-1, kernel * kernel, hidden)
    return cells.astype(mx.float32).mean(axis=1) * math.sqrt(hidden)


def standardize(tokens: mx.array, bias: mx.array, scale: mx.array) -> mx.array:
    """``(tokens − bias) · scale`` in float32: bias and tokens are large and nearly equal."""
    return (tokens - bias.astype(mx.float32)) * scale.astype(mx.float32)
