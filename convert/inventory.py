"""What a checkpoint holds: parameters, bytes and packing of every tensor, summed up by group.

Read from the headers of its files alone. There the packing shows in the shapes: a packed matrix is
as much narrower as it has fewer than 32 bits a weight, and has one scale per group of weights.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from gemma4_convert.groups import GROUPS, group_of
from gemma4_convert.policy import FIXED_MODES
from gemma4_mlx.config import Gemma4Config
from gemma4_mlx.layer_plan import plan_layers
from gemma4_mlx.loading.dtypes import STORED_DTYPES
from gemma4_mlx.loading.rename import PLE_TABLE, is_dropped, module_path
from gemma4_mlx.loading.safetensors_file import TensorInfo, checkpoint_tensors
from gemma4_mlx.tensor_shapes import Shape, borrowed_shapes, tensor_shapes

_TOWERS = ("vision_tower.", "embed_vision.", "audio_tower.", "embed_audio.")
_EMBEDDING = "language_model.embed_tokens.weight"


@dataclass(frozen=True)
class Stored:
    """One tensor under its path in our modules; ``nbytes`` includes its scales and biases."""

    path: str
    parameters: int
    nbytes: int
    packing: str


@dataclass(frozen=True)
class GroupTotal:
    """The tensors of one group, or of all; ``packings`` begin with that of most parameters."""

    name: str
    tensors: int
    parameters: int
    nbytes: int
    packings: tuple[str, ...]

    @property
    def bits(self) -> float:
        """Bits per weight, scales and biases included."""
        return self.nbytes * 8 / self.parameters


@dataclass(frozen=True)
class Inventory:
    """All tensors that the model uses.

    ``config`` lacks the towers that the files lack. ``unused_bytes`` is what lies in the files
    and nothing uses, ``has_borrowed`` whether keys and values of layers that borrow are among it.
    ``missing`` and ``unexpected`` name tensors that do not fit the config. ``itemsize``: bytes of
    a number while the model runs, and in the cache.
    """

    config: Gemma4Config
    tensors: tuple[Stored, ...]
    unused_bytes: int
    has_borrowed: bool
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    itemsize: int

    @property
    def file_bytes(self) -> int:
        """Bytes of all tensors, the unused ones too."""
        return sum(tensor.nbytes for tensor in self.tensors) + self.unused_bytes

    def nbytes(self, *prefixes: str) -> int:
        """Bytes of the tensors whose paths begin so."""
        return sum(tensor.nbytes for tensor in self.tensors if tensor.path.startswith(prefixes))

    @property
    def table_bytes(self) -> int:
        """Bytes of the per-layer embedding table, 0 without one."""
        return self.nbytes(PLE_TABLE)

    def groups(self) -> tuple[GroupTotal, ...]:
        """One total per group that the model has, in the order of the groups' table."""
        members: dict[str, list[Stored]] = {group.name: [] for group in GROUPS}
        for tensor in self.tensors:
            members[group_of(tensor.path).name].append(tensor)
        return tuple(_total(name, tensors) for name, tensors in members.items() if tensors)

    def all_groups(self) -> GroupTotal:
        """The sum of all groups."""
        return _total("all", self.tensors)


def _total(name: str, tensors: Iterable[Stored]) -> GroupTotal:
    packings: Counter[str] = Counter()
    count = nbytes = 0
    for tensor in tensors:
        packings[tensor.packing] += tensor.parameters
        nbytes += tensor.nbytes
        count += 1
    ranked = tuple(packing for packing, _ in packings.most_common())
    return GroupTotal(name, count, packings.total(), nbytes, ranked)


def inventory_of_files(path: Path, config: Gemma4Config) -> Inventory:
    """What the safetensors files of a checkpoint directory hold; reads headers alone.

    Raises CheckpointError for damaged or missing files.
    """
    plan = plan_layers(config.text)
    borrowed_paths = borrowed_shapes(config)
    found: dict[str, TensorInfo] = {}
    unused, has_borrowed = 0, False
    for name, info in checkpoint_tensors(path).items():
        ours = module_path(name)
        if is_dropped(ours, plan):
            unused += info.nbytes
            has_borrowed |= ours in borrowed_paths
        else:
            found.update(_halved(ours, info))
    if not any(name.startswith(_TOWERS) for name in found):  # a text-only conversion
        config = replace(config, vision=None, audio=None)

    expected = tensor_shapes(config)
    stored = [
        _stored(tensor, shape, _parts(tensor, found))
        for tensor, shape in expected.items()
        if tensor in found
    ]
    used = {part for tensor in expected for part in _part_names(tensor)}
    return Inventory(
        config=config,
        tensors=tuple(stored),
        unused_bytes=unused,
        has_borrowed=has_borrowed,
        missing=tuple(sorted(expected.keys() - found.keys())),
        unexpected=tuple(sorted(found.keys() - used)),
        itemsize=_itemsize(_parts(_EMBEDDING, found)),
    )


def _halved(path: str, info: TensorInfo) -> dict[str, TensorInfo]:
    """Hugging Face keeps the experts' gate and up projections in one tensor, we have two."""
    if not path.endswith(".experts.gate_up_proj") or len(info.shape) != 3:
        return {path: info}
    experts, rows, width = info.shape
    half = replace(info, shape=(experts, rows // 2, width))
    base = path.removesuffix("gate_up_proj") + "switch_glu."
    return {f"{base}gate_proj.weight": half, f"{base}up_proj.weight": half}


def _part_names(path: str) -> tuple[str, ...]:
    base = path.removesuffix(".weight")
    return (path, f"{base}.scales", f"{base}.biases")


def _parts(path: str, found: Mapping[str, TensorInfo]) -> dict[str, TensorInfo]:
    """A tensor's own info and, if it is packed, those of its scales and biases."""
    names = zip(("weight", "scales", "biases"), _part_names(path), strict=True)
    return {part: found[name] for part, name in names if name in found}


def _stored(path: str, shape: Shape, parts: Mapping[str, TensorInfo]) -> Stored:
    weight, scales = parts["weight"], parts.get("scales")
    count = math.prod(shape)
    packing = weight.dtype.lower()
    if scales is not None and scales.shape and shape:
        packing = packing_name(
            round(weight.nbytes * 8 / count),
            round(shape[-1] / max(scales.shape[-1], 1)),
            affine="biases" in parts,
        )
    return Stored(path, count, sum(part.nbytes for part in parts.values()), packing)


def packing_name(bits: int, group_size: int, *, affine: bool) -> str:
    """``4 bits/64`` (per group of 64 weights), or the name of a mode that implies both."""
    modes = {sizes: mode for mode, sizes in FIXED_MODES.items()}
    if not affine and (bits, group_size) in modes:
        return modes[bits, group_size]
    return f"{bits} bits/{group_size}"


def _itemsize(parts: Mapping[str, TensorInfo]) -> int:
    """The embedding sets the dtype of all that follows; packed without floats, it is bfloat16."""
    dtypes = [STORED_DTYPES[info.dtype] for info in parts.values()]
    return next((dtype.itemsize for dtype in dtypes if dtype.is_floating), 2)
