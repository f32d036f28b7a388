"""A tensor in blocks of rows: read, brought into our layout, cast and packed.

A row is what lies along the last axis, and MLX packs every group of a row by itself. So rows can
be taken a few at a time and give the bits that packing the whole tensor would give, while memory
holds some megabytes of a table that has gigabytes.
"""

import fcntl
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

import mlx.core as mx
import numpy as np

from gemma4_convert.plan import PlannedTensor
from gemma4_mlx.errors import CheckpointError
from gemma4_mlx.loading.dtypes import STORED_DTYPES, as_stored
from gemma4_mlx.loading.rename import in_our_layout
from gemma4_mlx.tensor_shapes import CLIP_BOUNDS

# Of the source, at a time. MLX's CPU backend packs nvfp4 with forty times this in intermediates.
BLOCK_BYTES = 8 * 2**20
# A block has a multiple of these rows. What vector instructions leave over may be computed another
# way; so nothing is left over but at the end, as in the whole tensor.
_ROWS_TOGETHER = 32
# What MLX may keep of freed memory: blocks of many sizes would pile up otherwise.
_CACHE_BYTES = 16 * BLOCK_BYTES


@dataclass(frozen=True)
class Block:
    """The next rows of a tensor as they are written: by the part's name, each (rows, columns)."""

    parts: Mapping[str, mx.array]
    source_bytes: int


class UnfitNumbers(CheckpointError):
    """The source holds what no weight can be, or what the dtype asked for cannot hold."""


class SourceFiles:
    """Open files whose bytes are read once, and so are kept out of the system's cache."""

    def __init__(self) -> None:
        self._open: dict[Path, FileIO] = {}

    def __enter__(self) -> "SourceFiles":
        return self

    def __exit__(self, *_: object) -> None:
        for stream in self._open.values():
            stream.close()
        self._open.clear()

    def read_into(self, buffer: memoryview, file: Path, start: int) -> None:
        """Fill ``buffer``, flat and of bytes, from byte ``start`` of the file on.

        Raises CheckpointError when the file cannot be read or ends before.
        """
        done = 0
        try:
            stream = self._stream(file)
            stream.seek(start)
            while done < len(buffer) and (got := stream.readinto(buffer[done:])):
                done += got
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(stream.fileno(), start, done, os.POSIX_FADV_DONTNEED)
        except OSError as error:
            raise CheckpointError(
                f"{file} cannot be read ({error.strerror}): see to its disk, or download it again"
            ) from None
        if done < len(buffer):
            raise CheckpointError(
                f"{file} ends at byte {start + done}, expected {len(buffer) - done} more: "
                "download it again"
            )

    def _stream(self, file: Path) -> FileIO:
        if file not in self._open:
            stream = self._open[file] = FileIO(file)
            if hasattr(fcntl, "F_NOCACHE"):  # macOS
                fcntl.fcntl(stream, fcntl.F_NOCACHE, 1)
        return self._open[file]


@contextmanager
def small_cache() -> Iterator[None]:
    """MLX keeps little of the memory that blocks leave behind."""
    before = mx.set_cache_limit(_CACHE_BYTES)
    try:
        yield
    finally:
        mx.set_cache_limit(before)
        mx.clear_cache()


def source_bytes(tensor: PlannedTensor) -> int:
    """The bytes of the source that a tensor is made of."""
    return math.prod(tensor.shape) * STORED_DTYPES[tensor.source.dtype].itemsize


def blocks(
    tensors: Iterable[PlannedTensor],
    files: SourceFiles,
    dtype: str | None,
    block_bytes: int = BLOCK_BYTES,
) -> Iterator[Block]:
    """Tensors one after another, block by block, each computed while the next one is read.

    ``dtype`` ("bfloat16", "float16", "float32") is what tensors are cast to before they are packed;
    None keeps theirs.

    Raises UnfitNumbers for NaN and infinity: packed, they would become numbers like any other.
    """
    waiting: _Computed | None = None
    for tensor in tensors:
        for rows in _source_rows(tensor, files, block_bytes):
            computed = _Computed(tensor, rows, dtype)
            if waiting is not None:
                yield waiting.block()
            waiting = computed
    if waiting is not None:
        yield waiting.block()


class _Computed:
    """A block while it is computed, and whether its numbers are fit for it."""

    def __init__(self, tensor: PlannedTensor, rows: mx.array, dtype: str | None):
        self.tensor, self.rows, self.dtype = tensor, rows, dtype
        cast = rows if dtype is None else rows.astype(getattr(mx, dtype))
        self.parts = _packed(cast, tensor)
        # An infinite bound is one that does not clip.
        is_bound = tensor.name.rpartition(".")[2] in CLIP_BOUNDS
        self.is_fit = (~mx.isnan(cast) if is_bound else mx.isfinite(cast)).all()
        mx.async_eval(self.is_fit, *self.parts.values())

    def block(self) -> Block:
        if not self.is_fit.item():
            raise UnfitNumbers(self._unfit())
        return Block(self.parts, self.rows.nbytes)

    def _unfit(self) -> str:
        name, file = self.tensor.path, self.tensor.source.file
        if not mx.isfinite(self.rows).all().item():
            what = "NaN" if mx.isnan(self.rows).any().item() else "infinite numbers"
            return f"{name} holds {what} in {file}: download it again, or save the model again"
        largest = mx.abs(self.rows.astype(mx.float32)).max().item()
        return f"{name} holds {largest:.3g}, too large for {self.dtype}: convert to bfloat16"


def _source_rows(tensor: PlannedTensor, files: SourceFiles, block_bytes: int) -> Iterator[mx.array]:
    """The tensor's rows in our layout, (rows, width) at a time, in the source's dtype."""
    info = tensor.source
    count, width = math.prod(tensor.shape[:-1]), (tensor.shape or (1,))[-1]
    if tensor.rows is None and info.shape != tensor.shape:
        # A convolution: its axes change places, and it is small.
        whole = _read(tensor, files, [(0, math.prod(info.shape[:-1]))], info.shape[-1])
        whole = in_our_layout(tensor.path, whole.reshape(info.shape))[tensor.path]
        yield whole.reshape(count, width)
        return
    row_bytes = max(1, width * STORED_DTYPES[info.dtype].itemsize)
    limit = _ROWS_TOGETHER * max(1, block_bytes // (_ROWS_TOGETHER * row_bytes))
    waiting: list[tuple[int, int]] = []
    for run in _runs(tensor):
        first, left = run
        while left:
            room = limit - sum(rows for _, rows in waiting)
            taken = min(room, left)
            waiting.append((first, taken))
            first, left = first + taken, left - taken
            if taken == room:
                yield _read(tensor, files, waiting, width)
                waiting = []
    if waiting:
        yield _read(tensor, files, waiting, width)


def _runs(tensor: PlannedTensor) -> Iterator[tuple[int, int]]:
    """Where the tensor's rows lie among the source's: the first and how many follow on it.

    A half of the experts' gate_up_proj (E, 2I, D) has I rows of every expert.
    """
    if tensor.rows is None:
        yield 0, math.prod(tensor.shape[:-1])
        return
    begin, end = tensor.rows
    *leading, height, _ = tensor.source.shape
    for matrix in range(math.prod(leading)):
        yield matrix * height + begin, end - begin


def _read(
    tensor: PlannedTensor, files: SourceFiles, runs: list[tuple[int, int]], width: int
) -> mx.array:
    info = tensor.source
    host = np.empty((sum(rows for _, rows in runs), width), STORED_DTYPES[info.dtype].host)
    row_bytes = width * host.itemsize
    flat, done = host.reshape(-1).view(np.uint8).data, 0
    for first, rows in runs:
        size = rows * row_bytes
        files.read_into(flat[done : done + size], info.file, info.start + first * row_bytes)
        done += size
    return as_stored(mx.array(host), info.dtype)


def _packed(rows: mx.array, tensor: PlannedTensor) -> dict[str, mx.array]:
    how = tensor.quantization
    if how is None:
        return {tensor.name: rows}
    packed = mx.quantize(rows, how.group_size, how.bits, mode=how.mode)
    base = tensor.name.removesuffix("weight")
    parts = ("weight", "scales", "biases")[: len(packed)]
    return {base + part: array for part, array in zip(parts, packed, strict=True)}
