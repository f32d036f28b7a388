"""ClippedLinear bounds its input and its output, each by its own scalars."""

import mlx.core as mx
import pytest

from gemma4_mlx.nn.clipped_linear import ClippedLinear


def layer(**bounds: float) -> ClippedLinear:
    made = ClippedLinear(1, 1, clipped=True)
    made.linear.weight = mx.array([[2.0]])
    for name, bound in bounds.items():
        made[name] = mx.array(bound)
    return made


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ({}, [-10.0, 2.0, 10.0]),
        ({"input_min": -3.0}, [-6.0, 2.0, 10.0]),
        ({"input_max": 3.0}, [-10.0, 2.0, 6.0]),
        ({"output_min": -7.0}, [-7.0, 2.0, 10.0]),
        ({"output_max": 7.0}, [-10.0, 2.0, 7.0]),
    ],
)
def test_each_bound_clips(bounds: dict[str, float], expected: list[float]) -> None:
    assert layer(**bounds)(mx.array([[-5.0], [1.0], [5.0]])).squeeze().tolist() == expected


def test_float32_bounds_keep_bfloat16() -> None:
    made = layer(input_max=3.0)
    made.linear.weight = made.linear.weight.astype(mx.bfloat16)
    assert made(mx.ones((1, 1), dtype=mx.bfloat16)).dtype == mx.bfloat16


def test_without_bounds_there_are_no_scalars() -> None:
    assert list(ClippedLinear(2, 3, clipped=False).parameters()) == ["linear"]
