"""Plans of the tiny checkpoints, and what must come out of them."""

from collections.abc import Callable
from pathlib import Path

import mlx.core as mx

from gemma4_convert.plan import ConversionPlan, PlannedTensor, make_plan
from gemma4_convert.recipe import Recipe, plain_recipe, unquantized
from gemma4_convert.writing import write_conversion
from gemma4_mlx.loading.rename import in_our_layout, module_path
from tests import goldens
from tests.reference.checkpoints import copy_checkpoint, read_weights, write_weights

COMPANIONS = {"config.json": b'{"model_type": "gemma4"}\n', "tokenizer.json": b"{}\n"}
SHARD_BYTES = 150_000  # makes several files of each tiny checkpoint


def plan_of(family: str, recipe: Recipe | None = None) -> ConversionPlan:
    """A plan in 4 bits unless another recipe is given."""
    return make_plan(goldens.checkpoint(family), recipe or plain_recipe(4, 32))


def source_in(dtype: str, family: str, folder: Path) -> Path:
    """A tiny checkpoint in another dtype than the committed bfloat16; "mixed" has three."""
    source = copy_checkpoint(goldens.checkpoint(family), folder)
    (source / "expected.safetensors").unlink()
    dtypes = (mx.float32, mx.float16, mx.bfloat16) if dtype == "mixed" else (getattr(mx, dtype),)
    weights = read_weights(source).items()
    cast = {name: it.astype(dtypes[i % len(dtypes)]) for i, (name, it) in enumerate(weights)}
    write_weights(source, cast)
    return source


def write(plan: ConversionPlan, dest: Path, **options: object) -> None:
    """A conversion into several files."""
    write_conversion(plan, dest, COMPANIONS, **{"shard_bytes": SHARD_BYTES, **options})


class Stop(Exception):
    """Ends a conversion where a test wants it to end."""


def stop_after(share: float) -> Callable[[int, int], None]:
    def progress(done: int, total: int) -> None:
        if done > share * total:
            raise Stop

    return progress


def packed_whole(plan: ConversionPlan) -> dict[str, mx.array]:
    """Every tensor of the file that is to be written, each packed in one call of MLX."""
    ours: dict[str, mx.array] = {}
    for name, tensor in read_weights(plan.source).items():
        ours |= in_our_layout(module_path(name), tensor)
    expected: dict[str, mx.array] = {}
    for tensor in plan.tensors:
        expected |= _packed(tensor, ours[tensor.path], plan.recipe.dtype)
    return expected


def _packed(tensor: PlannedTensor, array: mx.array, dtype: str | None) -> dict[str, mx.array]:
    if dtype is not None:
        array = array.astype(getattr(mx, dtype))
    how = tensor.quantization
    if how is None:
        return {tensor.name: array}
    packed = mx.quantize(array, group_size=how.group_size, bits=how.bits, mode=how.mode)
    base = tensor.name.removesuffix("weight")
    return {base + part: it for part, it in zip(("weight", "scales", "biases"), packed)}  # noqa: B905


def same_bits(one: mx.array, other: mx.array) -> bool:
    """Equal in dtype, shape and every bit."""
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    flat = (mx.contiguous(array).reshape(-1).view(mx.uint8) for array in (one, other))
    return bool(mx.array_equal(*flat))


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a directory with its bytes."""
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


RECIPES = {
    "unquantized": unquantized(),
    "float16": unquantized("float16"),
    "4 bits": plain_recipe(4, 64),
    "3 bits": plain_recipe(3, 32),
    "8 bits": plain_recipe(8, 128),
    "mxfp4": plain_recipe(None, None, "mxfp4"),
    "mxfp8": plain_recipe(None, None, "mxfp8"),
    "nvfp4": plain_recipe(None, None, "nvfp4"),
}
