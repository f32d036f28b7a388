"""What a conversion will write, worked out from the source's headers and a recipe alone.

Every tensor of the source is checked to have its place in the model, gets our name and layout by
the loader's own table, and what it will be packed into: dtypes, shapes and bytes. Nothing is read
but headers, so a plan of 60 GB takes a second; the writing then follows it to the letter.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import mlx.core as mx

from gemma4_convert.groups import GROUPS, group_of
from gemma4_convert.layout import mlx_name
from gemma4_convert.policy import Quantization
from gemma4_convert.recipe import DTYPES, Recipe
from gemma4_mlx.config import Gemma4Config
from gemma4_mlx.errors import CheckpointError
from gemma4_mlx.layer_plan import plan_layers
from gemma4_mlx.loading.rename import in_our_layout, is_dropped, module_path
from gemma4_mlx.loading.safetensors_file import TensorInfo, checkpoint_tensors
from gemma4_mlx.loading.weights import load_weights
from gemma4_mlx.tensor_shapes import tensor_shapes

PLE_GROUP = "ple_table"


@dataclass(frozen=True)
class Part:
    """One tensor of the file that is written; ``dtype`` as safetensors spells it."""

    dtype: str
    shape: tuple[int, ...]
    nbytes: int


@dataclass(frozen=True)
class PlannedTensor:
    """One tensor of the model: where its bytes are, and what they become.

    ``path`` is ours and ``name`` that in the file written. ``shape`` is in our layout, unpacked.
    ``rows`` is the range on the source's axis −2 when only those belong to it (the gate and up
    halves of ``experts.gate_up_proj``). ``note`` says why it is packed otherwise than asked.
    """

    path: str
    name: str
    group: str
    shape: tuple[int, ...]
    source: TensorInfo
    rows: tuple[int, int] | None
    quantization: Quantization | None
    note: str | None
    parts: Mapping[str, Part]

    @property
    def parameters(self) -> int:
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        return sum(part.nbytes for part in self.parts.values())


@dataclass(frozen=True)
class GroupRow:
    """One line of the plan: a group's tensors, parameters, how they are packed, and bytes.

    ``packed`` says how many tensors are packed in which way; None are those that are kept.
    """

    name: str
    title: str
    tensors: int
    parameters: int
    packed: Mapping[Quantization | None, int]
    nbytes: int
    notes: tuple[str, ...]

    @property
    def bits_per_weight(self) -> float:
        return 8 * self.nbytes / self.parameters


@dataclass(frozen=True)
class ConversionPlan:
    """Everything that a conversion writes, in the order in which the source holds it."""

    source: Path
    config: Gemma4Config
    recipe: Recipe
    tensors: tuple[PlannedTensor, ...]

    @cached_property
    def total_bytes(self) -> int:
        """Of all tensors, headers not counted."""
        return sum(tensor.nbytes for tensor in self.tensors)

    @cached_property
    def parameters(self) -> int:
        return sum(tensor.parameters for tensor in self.tensors)

    @property
    def bits_per_weight(self) -> float:
        """Over the whole file: scales, norms and what is kept included."""
        return 8 * self.total_bytes / self.parameters

    @property
    def flash_bytes(self) -> int:
        """The per-layer embedding table, which stays in its file: a row is read per token."""
        return sum(tensor.nbytes for tensor in self.tensors if tensor.group == PLE_GROUP)

    @property
    def bytes_in_use(self) -> int:
        """The weights in memory once both towers are in use, with the table on flash."""
        return self.total_bytes - self.flash_bytes

    def rows(self) -> tuple[GroupRow, ...]:
        """The groups that this model has, in the order of ``groups.GROUPS``."""
        rows = []
        for group in GROUPS:
            tensors = [tensor for tensor in self.tensors if tensor.group == group.name]
            if tensors:
                notes = Counter(tensor.note for tensor in tensors if tensor.note)
                rows.append(
                    GroupRow(
                        group.name,
                        group.title,
                        len(tensors),
                        sum(tensor.parameters for tensor in tensors),
                        Counter(tensor.quantization for tensor in tensors),
                        sum(tensor.nbytes for tensor in tensors),
                        tuple(f"{count} × {note}" for note, count in sorted(notes.items())),
                    )
                )
        return tuple(rows)

    def quantization_config(self) -> dict[str, Any] | None:
        """What stands under ``quantization`` in config.json; None when the recipe packs nothing.

        The default is what the recipe asks for most of the weights in use. Every module for which
        it asks otherwise, or that had to be packed otherwise, has an entry, ``False`` when it is
        kept. Modules that the recipe keeps need none: readers see that they have no scales.
        """
        weights: Counter[Quantization] = Counter()
        for tensor in self.tensors:
            asked = self.recipe.asked(tensor.path)
            if asked is not None:
                # The table would outweigh all others, and be the only one without an entry.
                weights[asked] += 1 if tensor.group == PLE_GROUP else tensor.parameters
        if not weights:
            return None
        default = weights.most_common(1)[0][0]
        overrides: dict[str, Any] = {}
        for tensor in self.tensors:
            if self.recipe.asked(tensor.path) is not None and tensor.quantization != default:
                how = tensor.quantization
                module = tensor.name.removesuffix(".weight")
                overrides[module] = False if how is None else how.as_config()
        return default.as_config() | overrides


def make_plan(source: Path, recipe: Recipe) -> ConversionPlan:
    """Plan the conversion of the checkpoint directory ``source``; reads headers only.

    Raises CheckpointError when the source is damaged, of another model or already quantized.
    """
    is_quantized = Gemma4Config.from_dir(source).quantization is not None
    infos = checkpoint_tensors(source)
    if is_quantized or any(name.endswith(".scales") for name in infos):
        raise CheckpointError(
            f"{source} is quantized already: convert the checkpoint it was made from"
        )
    config = load_weights(source).config  # tells of every tensor that is missing or misshapen
    layers = plan_layers(config.text)
    planned: list[PlannedTensor] = []
    for name, info in sorted(infos.items(), key=lambda item: (item[1].file, item[1].start)):
        path = module_path(name)
        if not is_dropped(path, layers):
            planned += _planned(path, info, recipe)
    return ConversionPlan(source, config, recipe, tuple(planned))


def plan_of_config(name: str, config: Gemma4Config, recipe: Recipe) -> ConversionPlan:
    """The plan for bfloat16 weights that are not at hand: it can be shown, not carried out."""
    nowhere = Path(name)
    planned = [
        _tensor(path, shape, TensorInfo(nowhere, "BF16", shape, 0), None, recipe)
        for path, shape in tensor_shapes(config).items()
    ]
    return ConversionPlan(nowhere, config, recipe, tuple(planned))


def _planned(path: str, info: TensorInfo, recipe: Recipe) -> Iterator[PlannedTensor]:
    """The tensor, or the two that our modules make of it."""
    # An array that is never evaluated has a shape and no memory: the rules stay in one place.
    ours = in_our_layout(path, mx.zeros(info.shape))
    first = 0
    for part, array in ours.items():
        rows = None
        if len(ours) > 1:
            rows = (first, first + array.shape[-2])
            first = rows[1]
        yield _tensor(part, array.shape, info, rows, recipe)


def _tensor(
    path: str,
    shape: tuple[int, ...],
    source: TensorInfo,
    rows: tuple[int, int] | None,
    recipe: Recipe,
) -> PlannedTensor:
    how, note = recipe.quantization(path, shape)
    name = mlx_name(path)
    return PlannedTensor(
        path=path,
        name=name,
        group=group_of(path).name,
        shape=shape,
        source=source,
        rows=rows,
        quantization=how,
        note=note,
        parts=_parts(name, shape, DTYPES[recipe.dtype] if recipe.dtype else source.dtype, how),
    )


def _parts(
    name: str, shape: tuple[int, ...], dtype: str, how: Quantization | None
) -> dict[str, Part]:
    """The tensors that ``mx.quantize`` makes of a matrix, or the tensor itself."""
    if how is None:
        return {name: _part(dtype, shape)}
    *rows, width = shape
    base = name.removesuffix("weight")
    groups = (*rows, width // how.group_size)
    parts = {f"{base}weight": _part("U32", (*rows, width * how.bits // 32))}
    if how.mode == "affine":
        parts |= {f"{base}scales": _part(dtype, groups), f"{base}biases": _part(dtype, groups)}
    else:
        parts[f"{base}scales"] = _part("U8", groups)
    return parts


def _part(dtype: str, shape: tuple[int, ...]) -> Part:
    return Part(dtype, shape, TensorInfo(Path(), dtype, shape, 0).nbytes)
