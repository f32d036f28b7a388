"""Safetensors files whose every byte has its place before the first is written.

A plan tells the dtype and shape of each tensor beforehand. So the tensors are dealt out to files,
the headers are written first, and the parts of a tensor (weight, scales, biases) grow side by
side as its blocks come.
"""

import json
import os
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np

from gemma4_convert.blocks import BLOCK_BYTES, Block, SourceFiles
from gemma4_convert.plan import Part, PlannedTensor
from gemma4_mlx.errors import CheckpointError
from gemma4_mlx.loading.dtypes import STORED_DTYPES

INDEX = "model.safetensors.index.json"


@dataclass(frozen=True)
class Shard:
    """One file: ``header`` are its first bytes, ``starts`` says where each part begins."""

    file: str
    tensors: tuple[PlannedTensor, ...]
    header: bytes
    parts: Mapping[str, Part]  # in the order of the file
    starts: Mapping[str, int]

    @property
    def nbytes(self) -> int:
        return len(self.header) + sum(part.nbytes for part in self.parts.values())


def lay_out(tensors: Sequence[PlannedTensor], shard_bytes: int) -> tuple[Shard, ...]:
    """Deal tensors out to files of at most ``shard_bytes``, in their order.

    What belongs together (a weight, its scales and biases) stays in one file, and a tensor larger
    than ``shard_bytes`` has a file of its own.
    """
    dealt: list[list[PlannedTensor]] = [[]]
    size = 0
    for tensor in tensors:
        nbytes = sum(part.nbytes for part in tensor.parts.values())
        if dealt[-1] and size + nbytes > shard_bytes:
            dealt.append([])
            size = 0
        dealt[-1].append(tensor)
        size += nbytes
    if len(dealt) == 1:
        return (_shard("model.safetensors", dealt[0]),)
    return tuple(
        _shard(f"model-{number:05d}-of-{len(dealt):05d}.safetensors", some)
        for number, some in enumerate(dealt, 1)
    )


def index(shards: Iterable[Shard]) -> dict[str, Any]:
    """The content of model.safetensors.index.json."""
    places = {name: (shard.file, part) for shard in shards for name, part in shard.parts.items()}
    return {
        "metadata": {"total_size": sum(part.nbytes for _, part in places.values())},
        "weight_map": {name: file for name, (file, _) in sorted(places.items())},
    }


def _shard(file: str, tensors: Sequence[PlannedTensor]) -> Shard:
    parts = {name: part for tensor in tensors for name, part in tensor.parts.items()}
    # The format knows no gaps, so wide numbers come first: every tensor is aligned by itself.
    parts = dict(sorted(parts.items(), key=lambda item: -STORED_DTYPES[item[1].dtype].itemsize))
    entries: dict[str, Any] = {"__metadata__": {"format": "mlx"}}
    offsets: dict[str, int] = {}
    end = 0
    for name, part in parts.items():
        offsets[name], end = end, end + part.nbytes
        entries[name] = {
            "dtype": part.dtype,
            "shape": list(part.shape),
            "data_offsets": [offsets[name], end],
        }
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    header = len(text).to_bytes(8, "little") + text
    starts = {name: len(header) + offset for name, offset in offsets.items()}
    return Shard(file, tuple(tensors), header, parts, starts)


class ShardWriter:
    """Writes the blocks of a shard's tensors, which come in the shard's order, to their places.

    ``checksums`` are those of the header and of every part, in the order of the file.
    """

    def __init__(self, shard: Shard, handle: int):
        self.shard, self.handle = shard, handle
        self._written = dict.fromkeys(shard.parts, 0)
        self._checksums = dict.fromkeys(shard.parts, 0)
        _write(handle, memoryview(shard.header), 0)

    def write(self, block: Block) -> None:
        """Append each array to its part."""
        for name, array in block.parts.items():
            raw = _raw(array)
            written = self._written[name]
            if written + len(raw) > self.shard.parts[name].nbytes:
                raise RuntimeError(f"{name} is larger than planned")
            _write(self.handle, raw, self.shard.starts[name] + written)
            self._written[name] += len(raw)
            self._checksums[name] = zlib.crc32(raw, self._checksums[name])

    def checksums(self) -> list[int]:
        """To be called when every block has been written."""
        for name, part in self.shard.parts.items():
            if self._written[name] != part.nbytes:
                raise RuntimeError(f"{name} has {self._written[name]} bytes, planned {part.nbytes}")
        return [zlib.crc32(self.shard.header), *self._checksums.values()]


def is_intact(shard: Shard, file: Path, checksums: Sequence[int]) -> bool:
    """Whether a file that was written as this shard still has the same bytes."""
    sizes = [len(shard.header), *(part.nbytes for part in shard.parts.values())]
    try:
        if file.stat().st_size != shard.nbytes or len(sizes) != len(checksums):
            return False
        with SourceFiles() as files:
            return _checksums(files, file, sizes) == list(checksums)
    except (OSError, CheckpointError):  # gone or unreadable: it is to be written again
        return False


def _checksums(files: SourceFiles, file: Path, sizes: Sequence[int]) -> list[int]:
    buffer = memoryview(bytearray(BLOCK_BYTES))
    found, start = [], 0
    for size in sizes:
        checksum, end = 0, start + size
        while start < end:
            piece = buffer[: min(BLOCK_BYTES, end - start)]
            files.read_into(piece, file, start)
            checksum = zlib.crc32(piece, checksum)
            start += len(piece)
        found.append(checksum)
    return found


def _raw(array: mx.array) -> memoryview:
    """The bytes of an array, without a copy."""
    flat = mx.contiguous(array).reshape(-1)
    # A view of memory that the array shares: the view keeps it alive.
    return np.array(flat.view(mx.uint8), copy=False).data


def _write(handle: int, raw: memoryview, start: int) -> None:
    while raw:
        done = os.pwrite(handle, raw, start)
        raw, start = raw[done:], start + done
