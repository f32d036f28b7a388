"""What a safetensors file says it holds, read from its header alone.

The format: eight bytes with the header's length, a JSON header that gives dtype, shape and byte
range of every tensor, then the bytes. Reading headers first finds a damaged or foreign file
before any weight is touched, and tells where each tensor lies, so that one can be mapped.

Source: huggingface/safetensors, README "Format".
"""

import json
import math
import mmap
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from gemma4_mlx.errors import CheckpointError
from gemma4_mlx.json_files import read_json
from gemma4_mlx.loading.dtypes import STORED_DTYPES

_MAX_HEADER = 100_000_000  # the format's own limit, in bytes


@dataclass(frozen=True)
class TensorInfo:
    """One tensor on disk: ``start`` is its first byte, counted from the start of the file."""

    file: Path
    dtype: str
    shape: tuple[int, ...]
    start: int

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * STORED_DTYPES[self.dtype].itemsize

    def mapped(self) -> np.ndarray:
        """The numbers in their file, read-only, as the host has them (``dtypes.STORED_DTYPES``).

        Pages are read when touched, and those that follow. Raises CheckpointError when the file is
        gone or shorter than it was.
        """
        return self.map().numbers

    def map(self, *, read_ahead: bool = True) -> "MappedTensor":
        """The same with the map itself; without ``read_ahead`` only pages touched are read."""
        host, count = STORED_DTYPES[self.dtype].host, math.prod(self.shape)
        try:
            with self.file.open("rb") as stream:
                mapping = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
            flat = np.frombuffer(mapping, host, count, offset=self.start)
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"{self.file} has changed and cannot be read ({error}): download it again"
            ) from None
        if not read_ahead:
            mapping.madvise(mmap.MADV_RANDOM)
        return MappedTensor(flat.reshape(self.shape), mapping, self.start)


@dataclass(frozen=True)
class MappedTensor:
    """A tensor's numbers in the map of its file, in which they begin at byte ``start``."""

    numbers: np.ndarray
    file: mmap.mmap
    start: int

    def read_soon(self, rows: Iterable[int]) -> None:
        """Have the system begin to read these rows, many at a time, before they are touched."""
        size = self.numbers.strides[0]
        for row in rows:
            begin = self.start + row * size
            page = begin - begin % mmap.PAGESIZE
            self.file.madvise(mmap.MADV_WILLNEED, page, begin + size - page)


def read_header(file: Path) -> dict[str, TensorInfo]:
    """The tensors of a safetensors file; CheckpointError if it is damaged or of another format."""
    try:
        size = file.stat().st_size
        stream = file.open("rb")
    except OSError as error:
        raise CheckpointError(
            f"{file} cannot be read ({error.strerror}): download it again"
        ) from None
    with stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or not 2 <= length <= min(_MAX_HEADER, size - 8):
            raise CheckpointError(
                f"{file} ({size} bytes) is no safetensors file or is cut short: download it again"
            )
        raw = stream.read(length)
    try:
        header = json.loads(raw)
        header.pop("__metadata__", None)
        tensors = {name: _tensor(file, 8 + length, name, entry) for name, entry in header.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            f"{file} has a damaged safetensors header ({error}): download it again"
        ) from None
    end = max((info.start + info.nbytes for info in tensors.values()), default=0)
    if end > size:
        raise CheckpointError(
            f"{file} is cut short: it has {size} bytes, its header promises {end}; "
            "download it again"
        )
    return tensors


def _tensor(file: Path, data_start: int, name: str, entry: dict[str, Any]) -> TensorInfo:
    if entry["dtype"] not in STORED_DTYPES:
        raise CheckpointError(
            f"{file} holds {name} as {entry['dtype']!r:.20}, expected BF16, F16 or F32: use the "
            "checkpoint in bfloat16, or save it so first"
        )
    begin, end = entry["data_offsets"]
    info = TensorInfo(file, entry["dtype"], tuple(entry["shape"]), data_start + begin)
    if any(type(size) is not int or size < 0 for size in (begin, *info.shape)):
        raise ValueError(f"{name} begins at {begin} and has the shape {info.shape}")
    if info.nbytes != end - begin:
        raise ValueError(f"byte range {begin}-{end} does not fit {info.dtype} {info.shape}")
    return info


def checkpoint_tensors(path: Path) -> dict[str, TensorInfo]:
    """Every tensor of a checkpoint directory, whether in one file or in shards.

    Raises CheckpointError for a missing shard, a tensor the index promises and its shard lacks,
    one that two files hold, and an index that points outside of the directory.
    """
    index = path / "model.safetensors.index.json"
    if index.exists():
        return _sharded(path, index)
    single = path / "model.safetensors"
    files = [single] if single.exists() else sorted(path.glob("*.safetensors"))
    if not files:
        raise CheckpointError(
            f"{path} has no model.safetensors and no index of shards: only safetensors "
            "checkpoints are read"
        )
    return _joined(files)


def _joined(files: Iterable[Path]) -> dict[str, TensorInfo]:
    """The tensors of several files; which of two of one name is right, nobody could tell."""
    tensors: dict[str, TensorInfo] = {}
    for file in files:
        found = read_header(file)
        twice = sorted(found.keys() & tensors.keys())
        if twice:
            others = f" and {len(twice) - 1} more" if len(twice) > 1 else ""
            raise CheckpointError(
                f"{tensors[twice[0]].file} and {file} both hold {twice[0]}{others}, expected each "
                "tensor once: remove what another download or conversion left behind"
            )
        tensors.update(found)
    return tensors


def _is_file(file: Path) -> bool:
    try:
        return file.is_file()
    except OSError:  # a name too long for the file system
        return False


def _sharded(path: Path, index: Path) -> dict[str, TensorInfo]:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index} has no weight_map: download it again")
    names = sorted({str(name) for name in weight_map.values()})
    for name in names:
        if PurePosixPath(name).name != name or "\\" in name or name in (".", ".."):
            raise CheckpointError(
                f"{index} points to {name!r}, outside of the checkpoint: do not use this checkpoint"
            )
    missing = [name for name in names if not _is_file(path / name)]
    if missing:
        raise CheckpointError(
            f"{path} lacks {', '.join(missing)}, named by its index: finish the download"
        )
    tensors = _joined(path / name for name in names)
    lost = sorted(set(weight_map) - set(tensors))
    if lost:
        raise CheckpointError(
            f"{index} promises tensors that no shard holds: {', '.join(lost)}; download it again"
        )
    return tensors
