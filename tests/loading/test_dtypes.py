"""Numbers of every dtype come out of a file as they went in, on the host and in MLX."""

import json
import os
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from gemma4_mlx.errors import CheckpointError
from gemma4_mlx.loading.dtypes import STORED_DTYPES, as_stored
from gemma4_mlx.loading.safetensors_file import read_header

NUMBERS = [[0, 1, 1], [1, 0, 1]]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


@pytest.mark.parametrize("dtype", STORED_DTYPES)
def test_as_mlx_wrote_it(dtype: str, file: Path) -> None:
    kind = STORED_DTYPES[dtype]
    written = mx.array(NUMBERS).astype(kind.mlx)
    mx.save_safetensors(str(file), {"t": written})
    info = read_header(file)["t"]
    assert (info.dtype, info.nbytes) == (dtype, 6 * kind.itemsize)
    for read_ahead in (True, False):
        host = info.map(read_ahead=read_ahead).numbers
        assert (host.dtype, host.shape, host.flags.writeable) == (kind.host, (2, 3), False)
        read = as_stored(mx.array(host), dtype)
        assert read.dtype == kind.mlx and mx.array_equal(read, written).item()


def test_weights_are_floating() -> None:
    floating = [name for name, kind in STORED_DTYPES.items() if kind.is_floating]
    assert floating == ["F32", "F16", "BF16"]


def write(file: Path, entries: dict[str, object], data: bytes) -> None:
    header = json.dumps(entries).encode()
    file.write_bytes(len(header).to_bytes(8, "little") + header + data)


def test_wherever_it_lies(file: Path) -> None:
    """After an odd byte, at the very end, with nothing in it, and with no axis."""
    numbers = np.array([3.5, -2.0, 0.25], np.float32)
    entries = {
        "byte": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]},
        "odd": {"dtype": "F32", "shape": [1, 2], "data_offsets": [1, 9]},
        "scalar": {"dtype": "F32", "shape": [], "data_offsets": [9, 13]},
        "empty": {"dtype": "BF16", "shape": [4, 0], "data_offsets": [13, 13]},
    }
    write(file, entries, b"\x07" + numbers.tobytes())
    found = {name: info.mapped() for name, info in read_header(file).items()}
    assert found["byte"].tolist() == [7]
    assert found["odd"].tolist() == mx.array(found["odd"]).tolist() == [[3.5, -2.0]]
    assert (found["scalar"].shape, found["scalar"].item()) == ((), 0.25)
    assert found["empty"].shape == (4, 0)


def test_a_file_that_changed_meanwhile(file: Path) -> None:
    mx.save_safetensors(str(file), {"t": mx.ones((1000, 10))})
    info = read_header(file)["t"]
    for size in (info.start + 39_999, info.start - 1, 0):
        os.truncate(file, size)
        with pytest.raises(CheckpointError, match="has changed and cannot be read"):
            info.mapped()
    file.unlink()
    with pytest.raises(CheckpointError, match="No such file"):
        info.mapped()


@pytest.mark.parametrize("dtype", ["F64", "C64", "F8_E4M3", "F4", "bf16", "Q9" * 500, 3, None])
def test_what_mlx_does_not_load_is_named(dtype: object, file: Path) -> None:
    entries = {"a.weight": {"dtype": dtype, "shape": [2], "data_offsets": [0, 16]}}
    write(file, entries, bytes(16))
    with pytest.raises(CheckpointError) as caught:
        read_header(file)
    message = str(caught.value)
    told = f"{file} holds a.weight as {dtype!r:.20}, expected BF16, F16 or F32: use the checkpoint "
    assert message.startswith(told) and "\n" not in message


@pytest.mark.parametrize("begin", [-4, 0.0, True, "0", None])
def test_a_place_that_is_none(begin: object, file: Path) -> None:
    entries = {"a": {"dtype": "F32", "shape": [1], "data_offsets": [begin, 4]}}
    write(file, entries, bytes(8))
    with pytest.raises(CheckpointError, match="damaged safetensors header"):
        read_header(file)
