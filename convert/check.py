"""Is the conversion what its plan says? Read back and compared with the source, block by block.

This is no second run of what wrote it: files are opened by the loader and by memory maps, packed
blocks are dequantized and held against the source's own numbers, and may differ by no more than
their bits allow.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import mlx.core as mx
import numpy as np

from gemma4_convert.plan import ConversionPlan, PlannedTensor
from gemma4_convert.policy import Quantization
from gemma4_mlx.errors import CheckpointError
from gemma4_mlx.loading.dtypes import as_stored
from gemma4_mlx.loading.rename import in_our_layout
from gemma4_mlx.loading.safetensors_file import TensorInfo, checkpoint_tensors
from gemma4_mlx.loading.weights import load_weights
from gemma4_mlx.tensor_shapes import CLIP_BOUNDS

Progress = Callable[[int, int], None]

_BLOCK_NUMBERS = 2**22  # compared at a time
# Half a unit in the last place, as a share of the number: what storing a scale or a bias costs.
_ROUNDING = {"F32": 2**-24, "F16": 2**-12, "BF16": 2**-9}
# The largest error of a mode as a share of its group's largest number: half the gap between the
# two largest values that it has, 4 and 6 or 416 and 448, and some for the rounding of the scale.
_LARGEST_ERROR = {"mxfp4": 0.21, "mxfp8": 0.0625, "nvfp4": 0.18}
# The scale of nvfp4 has 8 bits itself and no value between 0 and 2^-9; the codes reach to 6.
_NVFP4_SCALE_STEP = 6 * 2**-10


def check_conversion(
    plan: ConversionPlan, dest: Path, progress: Progress | None = None
) -> list[str]:
    """One line for each problem of the conversion ``dest`` that ``plan`` describes; none is good.

    ``progress`` is called with the numbers compared and all of them.
    Raises CheckpointError when the source cannot be read.
    """
    told = progress or (lambda done, total: None)
    try:
        load_weights(dest)  # strictly: each tensor has its place and each module its tensors
        found = checkpoint_tensors(dest)
    except CheckpointError as error:
        return [str(error)]
    problems, done = [], 0
    told(0, plan.parameters)
    for tensor in plan.tensors:
        problem = _unlike_plan(tensor, found)
        if problem is None:
            for row, difference in _differences(tensor, found):
                if difference is not None:
                    problem = problem or f"{tensor.name}: {difference} (rows from {row})"
        if problem is not None:
            problems.append(problem)
        done += tensor.parameters
        told(done, plan.parameters)
    return problems


def _unlike_plan(tensor: PlannedTensor, found: Mapping[str, TensorInfo]) -> str | None:
    for name, part in tensor.parts.items():
        info = found.get(name)
        if info is None:
            return f"{name} is missing"
        if (info.dtype, info.shape) != (part.dtype, part.shape):
            return f"{name} is {info.dtype} {info.shape}, planned {part.dtype} {part.shape}"
    return None


def _differences(
    tensor: PlannedTensor, found: Mapping[str, TensorInfo]
) -> Iterator[tuple[int, str | None]]:
    """The first row of every block, and what is wrong with the block."""
    width = (tensor.shape or (1,))[-1]
    written = {
        name.rpartition(".")[2]: found[name].mapped().reshape(math.prod(part.shape[:-1]), -1)
        for name, part in tensor.parts.items()
    }
    dtypes = {name.rpartition(".")[2]: part.dtype for name, part in tensor.parts.items()}
    limit = max(1, _BLOCK_NUMBERS // max(1, width))
    row = 0
    for matrix in _matrices(tensor):
        for start in range(0, len(matrix), limit):
            source = as_stored(mx.array(matrix[start : start + limit]), tensor.source.dtype)
            parts = {
                name: as_stored(mx.array(array[row : row + len(source)]), dtypes[name])
                for name, array in written.items()
            }
            yield row, _difference(source, parts, tensor)
            row += len(source)


def _matrices(tensor: PlannedTensor) -> Iterator[np.ndarray]:
    """The source's numbers in our layout as matrices (rows, width), one after another."""
    whole = tensor.source.mapped()
    if tensor.rows is not None:
        begin, end = tensor.rows
        yield from whole.reshape(-1, *whole.shape[-2:])[:, begin:end]
    elif whole.shape == tensor.shape:
        yield whole.reshape(math.prod(tensor.shape[:-1]), -1)
    else:  # a convolution: small
        turned = in_our_layout(tensor.path, mx.array(whole))[tensor.path]
        yield np.array(turned).reshape(-1, tensor.shape[-1])


def _difference(source: mx.array, parts: dict[str, mx.array], tensor: PlannedTensor) -> str | None:
    how = tensor.quantization
    if how is None:
        (name,) = parts
        kept = parts[name]
        # An infinite bound is one that does not clip.
        is_number = ~mx.isnan(kept) if name in CLIP_BOUNDS else mx.isfinite(kept)
        if not is_number.all().item():
            return "holds numbers that are not finite"
        return None if mx.array_equal(kept, source.astype(kept.dtype)) else "is not the source's"
    scales_dtype = tensor.parts[tensor.name.removesuffix("weight") + "scales"].dtype
    if how.mode == "affine":
        parts = parts | {key: parts[key].astype(mx.float32) for key in ("scales", "biases")}
    unpacked = mx.dequantize(
        parts["weight"], parts["scales"], parts.get("biases"), how.group_size, how.bits, how.mode
    ).astype(mx.float32)
    if not mx.isfinite(unpacked).all().item():
        return "unpacks to numbers that are not finite"
    if not mx.isfinite(source).all().item():
        return "the source is not finite here: no weight can be so"
    groups = source.astype(mx.float32).reshape(len(source), -1, how.group_size)
    error = mx.abs(groups - unpacked.reshape(groups.shape)).max(axis=-1)
    excess = error - _allowed(groups, how, scales_dtype)
    if not (excess > 0).any().item():
        return None
    return f"{error.max().item():.3g} away from the source, more than {how} can be"


def _allowed(groups: mx.array, how: Quantization, scales_dtype: str) -> mx.array:
    """The largest error (rows, groups) that packing may make, of groups (rows, groups, size).

    Affine: MLX puts one step on the larger end exactly, so the other end may be a whole step off.
    """
    largest = mx.abs(groups).max(axis=-1)
    if how.mode != "affine":
        step = _NVFP4_SCALE_STEP if how.mode == "nvfp4" else 0.0
        return largest * _LARGEST_ERROR[how.mode] + step
    span = groups.max(axis=-1) - groups.min(axis=-1)
    smallest = 2.0 ** (how.bits - 24)  # float16 scales end at 2^-24
    return 1.01 * span / (2**how.bits - 1) + 3.1 * largest * _ROUNDING[scales_dtype] + smallest
