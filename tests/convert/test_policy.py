"""Bits, groups and modes: what exists, what is implied, and what a width leaves of them."""

import mlx.core as mx
import pytest

from gemma4_convert.policy import AFFINE_BITS, AFFINE_GROUPS, FIXED_MODES, Quantization, fitted
from gemma4_mlx.errors import InputError

FOUR = Quantization(4, 64)
EVERY = [
    *(Quantization(bits, group) for bits in AFFINE_BITS for group in AFFINE_GROUPS),
    *(Quantization(*sizes, mode) for mode, sizes in FIXED_MODES.items()),
]


@pytest.mark.parametrize("how", EVERY, ids=str)
def test_mlx_packs_all_of_them_into_these_bits(how: Quantization) -> None:
    parts = mx.quantize(mx.ones((2, 256), mx.bfloat16), how.group_size, how.bits, mode=how.mode)
    assert 8 * sum(part.nbytes for part in parts) == how.bits_per_weight * 2 * 256


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("how", EVERY, ids=str)
def test_every_width_that_suits_is_packed_and_unpacked(how: Quantization, rows: int) -> None:
    """An odd number of rows too: of a matrix, and of rows that are looked up in one."""
    for width in range(how.divisor, 8 * how.divisor, how.divisor):
        numbers = mx.random.normal((rows, width))
        parts = mx.quantize(numbers, how.group_size, how.bits, mode=how.mode)
        biases = parts[2] if len(parts) > 2 else None
        unpacked = mx.dequantize(
            parts[0], parts[1], biases, how.group_size, how.bits, mode=how.mode
        )
        assert unpacked.shape == numbers.shape
        correlation = mx.sum(unpacked * numbers) / mx.sum(mx.square(numbers))
        assert correlation.item() > 0.8


@pytest.mark.parametrize(
    ("width", "asked", "chosen"),
    [
        (128, FOUR, FOUR),
        (704, Quantization(4, 128), FOUR),  # the experts of the 26B
        (96, Quantization(4, 128), Quantization(4, 32)),
        (32, FOUR, Quantization(4, 32)),
        (4304, FOUR, None),  # the big vision tower
        (96, Quantization(4, 16, "nvfp4"), Quantization(4, 16, "nvfp4")),
        (48, Quantization(4, 16, "nvfp4"), None),  # three groups
        (40, Quantization(4, 16, "nvfp4"), None),
        (48, Quantization(8, 32, "mxfp8"), None),
    ],
)
def test_widths_that_do_not_divide(
    width: int, asked: Quantization, chosen: Quantization | None
) -> None:
    assert fitted(width, asked) == chosen
    assert fitted(width, asked, smaller_groups=False) == (chosen if chosen == asked else None)


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ({"bits": 8}, Quantization(8, 64)),
        ({"bits": 3, "group_size": 32}, Quantization(3, 32)),
        ({"mode": "mxfp4"}, Quantization(4, 32, "mxfp4")),
        ({"mode": "mxfp8"}, Quantization(8, 32, "mxfp8")),
        ({"mode": "nvfp4", "bits": 4}, Quantization(4, 16, "nvfp4")),
        ({}, FOUR),
    ],
)
def test_what_is_left_out_is_implied(asked: dict[str, object], meant: Quantization) -> None:
    assert Quantization.asked(**asked) == meant  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("bits", "group_size", "mode", "told"),
    [
        (7, 64, "affine", r"7 bits in groups of 64"),
        (4, 48, "affine", r"groups of 48"),
        (8, 32, "mxfp4", r"always has 4 bits in groups of 32"),
        (4, 64, "nvfp4", r"in groups of 16"),
        (4, 64, "int4", r"'int4' is unknown"),
    ],
)
def test_what_mlx_cannot_pack_is_refused(bits: int, group_size: int, mode: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        Quantization(bits, group_size, mode)
