"""Two-dimensional RoPE: half a head turns by x, half by y, and only offsets count."""

import mlx.core as mx
import numpy as np
import pytest

from gemma4_mlx.nn.rope_2d import rope_2d_angles, rotate_2d


def turn(x: mx.array, positions: list[list[int]]) -> np.ndarray:
    """Turn one head (D,) to each of the positions: (positions, D)."""
    cos, sin = rope_2d_angles(mx.array([positions]), x.shape[-1], theta=100.0)
    heads = mx.broadcast_to(x, (1, len(positions), 1, x.shape[-1]))
    return np.array(rotate_2d(heads, cos, sin))[0, :, 0]


def test_the_angles_by_hand() -> None:
    # D = 8: pairs (0, 2) and (1, 3) turn by x and x/10, pairs (4, 6) and (5, 7) by y and y/10.
    [turned] = turn(mx.array([1.0, 1, 0, 0, 1, 1, 0, 0]), [[2, 5]])
    expected = [np.cos(2), np.cos(0.2), np.sin(2), np.sin(0.2)]
    expected += [np.cos(5), np.cos(0.5), np.sin(5), np.sin(0.5)]
    np.testing.assert_allclose(turned, expected, atol=1e-6)


@pytest.mark.parametrize("head_dim", [8, 64, 72])
def test_products_depend_on_the_offset_alone(head_dim: int) -> None:
    query, key = mx.random.normal((head_dim,)), mx.random.normal((head_dim,))
    queries = turn(query, [[0, 0], [3, 1], [40, 7]])
    keys = turn(key, [[2, 5], [5, 6], [42, 12]])
    products = (queries * keys).sum(axis=-1)
    np.testing.assert_allclose(products, products[0], rtol=1e-4, atol=1e-4)
    assert abs((queries[0] * keys[1]).sum() - products[0]) > 1e-2


def test_origin_and_dtype_stay() -> None:
    x = mx.random.normal((1, 1, 2, 12)).astype(mx.bfloat16)
    cos, sin = rope_2d_angles(mx.array([[[0, 0]]]), 12, 100.0)
    turned = rotate_2d(x, cos, sin)
    assert turned.dtype == mx.bfloat16
    assert mx.array_equal(turned, x)
