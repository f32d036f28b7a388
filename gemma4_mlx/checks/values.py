"""Whether every number of the weights is one: read block by block, whatever the size.

A tensor is never in memory whole: the per-layer embedding table of E2B alone has 4.7 GB. Besides
NaN and infinity, a matrix of nothing but zeros is told: that is what a download leaves which
reserved the room on the disk first and never filled it.

Packed weights are integers, of which any is valid; their scales and biases are looked at instead.
Clip bounds may be infinite: such a bound does not clip.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gemma4_mlx.checks.files import Found
from gemma4_mlx.checks.outcome import Check, Status, in_units, judged
from gemma4_mlx.loading.safetensors_file import TensorInfo
from gemma4_mlx.tensor_shapes import CLIP_BOUNDS

NAME = "values"
BLOCK = 2**24  # bytes in memory at a time, and as much again for the comparison

Progress = Callable[[int, int], None]
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class _Float:
    """A number as its bits: all of the exponent set means infinite, with a mantissa NaN."""

    bits: type[np.unsignedinteger[Any]]
    exponent: int
    mantissa: int


_FLOATS: Mapping[str, _Float] = {
    "F32": _Float(np.uint32, 0x7F80_0000, 0x007F_FFFF),
    "F16": _Float(np.uint16, 0x7C00, 0x03FF),
    "BF16": _Float(np.uint16, 0x7F80, 0x007F),
}
_E8M0_NAN, _E4M3_NAN = (0xFF,), (0x7F, 0xFF)


def check_values(found: Found, quantization: Mapping[str, Any] | None, progress: Progress) -> Check:
    """Every tensor of the files that can be read; ``progress`` hears of bytes done and in all.

    ``quantization`` is config.json's: 8-bit scales are of another kind in nvfp4.
    """
    if not found.tensors:
        return Check(NAME, Status.SKIPPED, "not read: no tensor can be read")
    total = sum(info.nbytes for info in found.tensors.values())
    done = numbers = packed = 0
    scale_nans = _E4M3_NAN if _modes(quantization) == {"nvfp4"} else _E8M0_NAN
    problems: list[str] = []
    in_order = sorted(found.tensors.items(), key=lambda item: (item[1].file, item[1].start))
    for name, info in in_order:
        looked_at = _Looked(name, info)
        try:
            for block in _blocks(info) if looked_at.matters else ():
                looked_at.at(block, scale_nans)
                progress(min(done + looked_at.seen * block.itemsize, total), total)
        except OSError as error:
            problems.append(f"{name} cannot be read ({error.strerror or error}): {info.file}")
        numbers += looked_at.seen
        packed += 0 if looked_at.matters else info.nbytes
        done += info.nbytes
        progress(done, total)
        problems += looked_at.problems()
    passed = f"{numbers:,} numbers are finite, no matrix is all zeros"
    return judged(
        NAME,
        problems,
        passed + (f"; {in_units(packed)} are integers, all of them valid" if packed else ""),
        f"{len(problems):,} of {len(found.tensors):,} tensors hold what no weight can be",
    )


class _Looked:
    """What has been seen of one tensor so far."""

    def __init__(self, name: str, info: TensorInfo):
        self.name, self.shape = name, info.shape
        self.kind = _FLOATS.get(info.dtype)
        self.is_scale = info.dtype == "U8" and name.endswith(".scales")
        self.matters = self.kind is not None or self.is_scale
        self.is_bound = name.endswith(CLIP_BOUNDS)
        self.seen = self.nans = self.infinite = 0
        self.first: int | None = None
        self.only_zeros = True

    def at(self, block: Array, scale_nans: tuple[int, ...]) -> None:
        if self.kind is None:
            bad = nan = np.isin(block, scale_nans)
            self.only_zeros = False  # a scale of 8 bits: its zero is a power of two
        else:
            bad = (block & self.kind.exponent) == self.kind.exponent
            nan = bad & ((block & self.kind.mantissa) != 0) if bad.any() else bad
            if self.is_bound:
                bad = nan
            self.only_zeros = self.only_zeros and not block.any()
        count = int(np.count_nonzero(bad))
        if count:
            if self.first is None:
                self.first = self.seen + int(bad.argmax())
            nans = int(np.count_nonzero(nan))
            self.nans, self.infinite = self.nans + nans, self.infinite + count - nans
        self.seen += block.size

    def problems(self) -> Iterator[str]:
        if self.first is not None:
            counts = ((self.nans, "NaN"), (self.infinite, "infinite"))
            told = " and ".join(f"{count:,} {what}" for count, what in counts if count)
            place = ", ".join(str(int(i)) for i in np.unravel_index(self.first, self.shape or (1,)))
            yield f"{self.name}: {told} of {self.seen:,} numbers, the first at [{place}]"
        is_matrix = len(self.shape) > 1 and not self.name.endswith(".biases")
        if is_matrix and self.seen and self.matters and self.only_zeros:
            yield f"{self.name}: all {self.seen:,} numbers are zero"


def _blocks(info: TensorInfo) -> Iterator[Array]:
    """The tensor's numbers as bits, flat, at most ``BLOCK`` bytes at a time."""
    kind = _FLOATS.get(info.dtype)
    bits: type[np.unsignedinteger[Any]] = np.uint8 if kind is None else kind.bits
    left = math.prod(info.shape) * np.dtype(bits).itemsize
    with info.file.open("rb", buffering=0) as stream:
        stream.seek(info.start)
        while left:
            raw = stream.read(min(BLOCK, left))
            whole = len(raw) - len(raw) % np.dtype(bits).itemsize
            if not whole:
                raise OSError(f"it ends {left:,} bytes early")
            stream.seek(whole - len(raw), 1)
            left -= whole
            yield np.frombuffer(raw, bits, whole // np.dtype(bits).itemsize)


def _modes(quantization: Mapping[str, Any] | None) -> set[str]:
    settings = [quantization or {}, *(quantization or {}).values()]
    maps = [entry for entry in settings if isinstance(entry, Mapping)]
    return {str(entry["mode"]) for entry in maps if "mode" in entry}
