"""Numbers that no weight can be: found in every dtype and any block, and in little memory."""

import struct
import tracemalloc
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from gemma4_mlx.checks import values
from gemma4_mlx.checks.files import Found
from gemma4_mlx.checks.outcome import Check, Status
from gemma4_mlx.checks.values import check_values
from gemma4_mlx.loading.safetensors_file import read_header


@pytest.fixture
def check(tmp_path: Path):
    """Checks tensors given by name."""

    def run(quantization=None, **tensors: mx.array) -> Check:
        file = tmp_path / "model.safetensors"
        mx.save_safetensors(str(file), tensors)
        seen: list[tuple[int, int]] = []
        check = check_values(
            Found(read_header(file)), quantization, lambda done, total: seen.append((done, total))
        )
        sizes = sum(array.nbytes for array in tensors.values())
        assert [done for done, _ in seen] == sorted(done for done, _ in seen)
        assert seen[-1] == (sizes, sizes)
        return check

    return run


def spoiled(shape: tuple[int, ...], dtype: mx.Dtype, **places: int) -> mx.array:
    """Ones, with ``nan=`` or ``inf=`` at one flat place each."""
    flat = np.ones(int(np.prod(shape)), np.float32)
    for what, place in places.items():
        flat[place] = float(what)
    return mx.array(flat.reshape(shape)).astype(dtype)


@pytest.mark.parametrize("block", [16, 32, 2**24])
@pytest.mark.parametrize("dtype", [mx.float32, mx.float16, mx.bfloat16])
@pytest.mark.parametrize("place", [0, 7, 8, 34])
def test_one_nan_is_found(check, monkeypatch, block, dtype, place) -> None:
    """At the first and the last number, at the edge of a block, and in the middle of one."""
    monkeypatch.setattr(values, "BLOCK", block)
    found = check(good=mx.ones((5, 7)), bad=spoiled((5, 7), dtype, nan=place))
    row, column = divmod(place, 7)
    assert found.status is Status.FAILED
    assert found.problems == (f"bad: 1 NaN of 35 numbers, the first at [{row}, {column}]",)
    assert "1 of 2 tensors" in found.detail


def test_all_are_counted(check) -> None:
    flat = np.array([1, np.nan, np.inf, -np.inf, np.nan, 2], np.float32)
    found = check(a=mx.array(flat), b=mx.array(np.array(np.nan, np.float32)))
    assert sorted(found.problems) == [
        "a: 2 NaN and 2 infinite of 6 numbers, the first at [1]",
        "b: 1 NaN of 1 numbers, the first at [0]",
    ]


def test_the_largest_numbers_are_finite(check) -> None:
    finite = {str(d): mx.array(mx.finfo(d).max, dtype=d) for d in (mx.float32, mx.float16)}
    found = check(**finite, brain=mx.array([3.38e38, -1e-40, 0.0]).astype(mx.bfloat16))
    assert found.status is Status.OK and "5 numbers are finite" in found.detail


def test_an_infinite_clip_bound_does_not_clip(check) -> None:
    bounds = {"x.linear.input_min": mx.array(-mx.inf), "x.linear.output_max": mx.array(mx.inf)}
    assert check(**bounds).status is Status.OK
    bounds["x.linear.input_max"] = mx.array(mx.nan)
    assert check(**bounds).problems[0].startswith("x.linear.input_max: 1 NaN of 1 numbers")


def test_a_matrix_of_zeros(check) -> None:
    """A vector may be zero, the biases of a packed matrix too; a matrix is a hole in a file."""
    fine = {"norm": mx.zeros(8), "a.biases": mx.zeros((4, 2)), "a.weight": mx.ones((4, 2))}
    assert check(**fine).status is Status.OK
    found = check(**fine, b=mx.zeros((4, 2), mx.bfloat16), c=mx.array([[0.0, 1.0]]))
    assert found.problems == ("b: all 8 numbers are zero",)


def test_packed_weights_are_integers(check) -> None:
    weight, scales, biases = mx.quantize(mx.random.normal((8, 64)), 32, 4)
    packed = {"a.weight": weight, "a.scales": scales, "a.biases": biases}
    found = check({"bits": 4}, **packed)
    assert found.status is Status.OK and "integers, all of them valid" in found.detail
    packed["a.scales"] = spoiled((8, 2), mx.float32, nan=3)
    assert "a.scales: 1 NaN of 16 numbers, the first at [1, 1]" in check({}, **packed).problems


@pytest.mark.parametrize(
    ("mode", "nans"), [("mxfp4", [255]), ("mxfp8", [255]), ("nvfp4", [127, 255])]
)
def test_scales_of_eight_bits(check, mode, nans) -> None:
    """What MLX unpacks to NaN or infinity is found, and the other 8-bit numbers are not."""
    weight, scales = mx.quantize(mx.random.normal((8, 64)), mode=mode)
    settings = {"mode": mode}
    for byte in (0, 1, 126, 127, 128, 255):
        host = np.array(scales)
        host[2, 1] = byte
        found = check(settings, **{"a.weight": weight, "a.scales": mx.array(host)})
        unpacked = mx.dequantize(weight, mx.array(host), mode=mode)
        assert (found.status is Status.FAILED) == (byte in nans), byte
        assert bool(mx.isfinite(unpacked).all()) == (byte not in nans), byte


def test_a_file_that_became_shorter(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    mx.save_safetensors(str(file), {"a": mx.ones((4, 4)), "b": mx.ones((2, 2))})
    tensors = read_header(file)
    file.write_bytes(file.read_bytes()[:-40])
    found = check_values(Found(tensors), None, lambda done, total: None)
    assert found.status is Status.FAILED and "ends" in found.problems[0]


def test_nothing_to_read() -> None:
    found = check_values(Found({}), None, lambda done, total: None)
    assert found.status is Status.SKIPPED and "no tensor" in found.detail


def test_memory_does_not_grow_with_the_tensor(tmp_path: Path) -> None:
    """A table of 512 MB, all holes but one row in the middle, in less than a tenth of that."""
    rows, width = 2**17, 2**11
    header = f'{{"t":{{"dtype":"BF16","shape":[{rows},{width}],"data_offsets":[0,{2**29}]}}}}'
    file = tmp_path / "model.safetensors"
    with file.open("wb") as stream:
        stream.write(struct.pack("<Q", len(header)) + header.encode())
        start = stream.tell()
        stream.seek(start + 2 * width * 100_000)
        stream.write(struct.pack("<H", 0x7FC0) * 3)
        stream.truncate(start + 2**29)
    tracemalloc.start()
    found = check_values(Found(read_header(file)), None, lambda done, total: None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.problems == (f"t: 3 NaN of {rows * width:,} numbers, the first at [100000, 0]",)
    assert peak < 2**26, f"{peak / 2**20:.0f} MiB"
