"""Fill a model from a checkpoint: strictly, lazily, and with every problem told at once.

Each tensor of the files must have its place in the model and each parameter its tensor, or both
are named in one error. Nothing is read but headers: MLX reads a weight when it is first used, so
the towers cost nothing until a picture or a recording comes, and the per-layer embedding table
stays on flash.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten

from gemma4_mlx.config import Gemma4Config, TextConfig
from gemma4_mlx.errors import CheckpointError, InputError
from gemma4_mlx.generation_config import GenerationConfig
from gemma4_mlx.json_files import Section
from gemma4_mlx.layer_plan import LayerPlan, plan_layers
from gemma4_mlx.loading.dtypes import STORED_DTYPES
from gemma4_mlx.loading.ple_rows import FlashRows, MemoryRows, TableFormat
from gemma4_mlx.loading.rename import PLE_TABLE, in_our_layout, is_dropped, module_path
from gemma4_mlx.loading.safetensors_file import TensorInfo, checkpoint_tensors
from gemma4_mlx.memory import keeps_table_in_memory
from gemma4_mlx.model import Gemma4Model
from gemma4_mlx.text.per_layer_embeddings import RowSource

PlePlacement = Literal["flash", "memory", "auto"]
# What is wrong with tensors ("missing", "misshapen" …) → which ones, one phrase each.
Misfits = dict[str, list[str]]

_TOWERS = ("vision_tower.", "embed_vision.", "audio_tower.", "embed_audio.")


def load_weights(
    path: Path, dtype: mx.Dtype | None = None, ple: PlePlacement = "auto"
) -> Gemma4Model:
    """A model with the weights of a checkpoint directory, in their own dtype or in ``dtype``.

    Raises CheckpointError for damaged files and for tensors that do not fit the config.
    """
    if ple not in ("flash", "memory", "auto"):
        raise InputError(f"ple is {ple!r}, expected 'flash', 'memory' or 'auto'")
    config = Gemma4Config.from_dir(path)
    generation_config = GenerationConfig.from_dir(path, config)
    sources = checkpoint_tensors(path)
    model, modes, tensors, misfits = _fit(config, generation_config, _unread(sources))
    _refuse(path, misfits)

    table = {
        name.removeprefix(f"{PLE_TABLE}."): tensors.pop(name)
        for name in list(tensors)
        if name.startswith(f"{PLE_TABLE}.")
    }
    if dtype is not None:
        tensors = {name: _cast(tensor, dtype) for name, tensor in tensors.items()}
    model.load_weights(list(tensors.items()))
    if table:
        infos = {module_path(name): info for name, info in sources.items()}
        infos = {part: infos[f"{PLE_TABLE}.{part}"] for part in table}
        settings = modes.of(PLE_TABLE) if "scales" in table else None
        model.use_ple_rows(_ple_rows(infos, table, TableFormat(settings, dtype), ple))
    model.eval()
    return model


def misfits(config: Gemma4Config, sources: Mapping[str, TensorInfo]) -> Misfits:
    """What does not fit between a config and the tensors of its checkpoint; {} when all does.

    Told from headers alone, so that it can be told of files whose data is damaged too. Raises
    CheckpointError for quantization settings that MLX does not know.
    """
    arrays = (
        (name, mx.zeros(info.shape, STORED_DTYPES[info.dtype].mlx))
        for name, info in sources.items()
    )
    return _fit(config, GenerationConfig(config.eos_token_ids), arrays).misfits


class _Fit(NamedTuple):
    """A model without weights, and the tensors for it under our names, unread."""

    model: Gemma4Model
    modes: "_Quantization"
    tensors: dict[str, mx.array]
    misfits: Misfits


def _fit(
    config: Gemma4Config,
    generation_config: GenerationConfig,
    arrays: Iterable[tuple[str, mx.array]],
) -> _Fit:
    tensors, twice = _tensors(arrays, plan_layers(config.text))
    if _is_text_only(tensors):
        config = replace(config, vision=None, audio=None)

    model = Gemma4Model(config, generation_config)
    modes = _Quantization(config.quantization)
    modes.apply(model, {name.removesuffix(".scales") for name in tensors if _is_scales(name)})
    expected: dict[str, mx.array] = dict(tree_flatten(model.parameters()))
    expected.update(_table_parts(config.text, modes, f"{PLE_TABLE}.scales" in tensors))
    return _Fit(model, modes, tensors, _misfits(expected, tensors, twice))


class _Quantization:
    """The ``quantization`` entry of config.json: one default and overrides per module."""

    def __init__(self, raw: Mapping[str, Any] | None):
        raw = raw or {}
        self.default = raw
        self.overrides = {
            module_path(name): value for name, value in raw.items() if isinstance(value, Mapping)
        }

    def of(self, path: str) -> dict[str, Any]:
        """The settings of one module: an override stands alone, as it does in mlx-lm.

        What they leave out is for MLX to choose, by their mode.
        """
        settings = self.overrides.get(path, self.default)
        if "bits" not in settings and "mode" not in settings:
            raise CheckpointError(
                f"{path} is quantized, but config.json tells no bits and group_size for it: "
                "use the config.json that came with the conversion"
            )
        get = Section(settings, f"the quantization of {path}")
        mode = get.value("mode", "affine")
        if not isinstance(mode, str):
            get.refuse("mode", "the name of a quantization mode")
        return {
            "group_size": get.integer("group_size", None),  # MLX divides by it unchecked
            "bits": get.integer("bits", None),
            "mode": mode,
        }

    def packed(self, path: str, shape: tuple[int, ...]) -> dict[str, mx.array]:
        """What a matrix of this shape is packed into, by part; nothing is evaluated."""
        try:
            parts = mx.quantize(mx.zeros(shape), **self.of(path))
        except (ValueError, TypeError) as error:
            raise CheckpointError(_unfit(error)) from None
        return dict(zip(("weight", "scales", "biases"), parts, strict=False))

    def apply(self, model: Gemma4Model, quantized: set[str]) -> None:
        """Swap the modules that have scales in the file for quantized ones."""
        if not quantized:
            return
        try:
            nn.quantize(
                model,
                class_predicate=lambda path, _: self.of(path) if path in quantized else False,
            )
        except (ValueError, TypeError) as error:
            raise CheckpointError(_unfit(error)) from None


def _unfit(error: Exception) -> str:
    reason = " ".join(str(error).split())
    return (
        f"the quantization settings of config.json do not fit the weights ({reason}): "
        "use the config.json that came with the conversion"
    )


def _tensors(
    arrays: Iterable[tuple[str, mx.array]], plan: tuple[LayerPlan, ...]
) -> tuple[dict[str, mx.array], list[str]]:
    """All tensors under our names, unread, and the names that two of them claim."""
    tensors: dict[str, mx.array] = {}
    twice: list[str] = []
    for name, tensor in arrays:
        path = module_path(name)
        if is_dropped(path, plan):
            continue
        ours = in_our_layout(path, tensor)
        twice += [name for name in ours if name in tensors]
        tensors.update(ours)
    return tensors, twice


def _unread(sources: Mapping[str, TensorInfo]) -> Iterator[tuple[str, mx.array]]:
    """Every tensor of the files by the name it has there."""
    for file in sorted({info.file for info in sources.values()}):
        yield from _load(file).items()


def _load(file: Path) -> dict[str, mx.array]:
    """The tensors of a file whose header has been checked, not read yet."""
    try:
        return cast(dict[str, mx.array], mx.load(str(file)))
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{file} cannot be read ({reason}): download it again") from None


def _is_text_only(tensors: Mapping[str, mx.array]) -> bool:
    """Text-only conversions keep the config of the whole model but no tensor of any tower."""
    return not any(name.startswith(_TOWERS) for name in tensors)


def _is_scales(name: str) -> bool:
    return name.endswith(".scales") and not name.startswith(PLE_TABLE)


def _table_parts(
    config: TextConfig, modes: _Quantization, is_quantized: bool
) -> dict[str, mx.array]:
    """The tensors that the per-layer embedding table must consist of, as arrays never read."""
    if not config.hidden_size_per_layer_input:
        return {}
    width = config.num_hidden_layers * config.hidden_size_per_layer_input
    shape = (config.vocab_size_per_layer_input, width)
    parts = modes.packed(PLE_TABLE, shape) if is_quantized else {"weight": mx.zeros(shape)}
    return {f"{PLE_TABLE}.{part}": array for part, array in parts.items()}


def _misfits(
    expected: Mapping[str, mx.array], found: Mapping[str, mx.array], twice: list[str]
) -> Misfits:
    both = sorted(expected.keys() & found.keys())
    problems = {
        "missing": sorted(expected.keys() - found.keys()),
        "unexpected": sorted(found.keys() - expected.keys()),
        "misshapen": [
            f"{name} is {found[name].shape}, expected {expected[name].shape}"
            for name in both
            if found[name].shape != expected[name].shape
        ],
        "of another type": [
            f"{name} is {found[name].dtype}, expected {_kind(expected[name])}"
            for name in both
            if _kind(found[name]) != _kind(expected[name])
        ],
        "given twice": sorted(twice),
    }
    return {what: names for what, names in problems.items() if names}


def _refuse(path: Path, misfits: Misfits) -> None:
    """CheckpointError that names every tensor which does not fit, if there are any."""
    told = "; ".join(f"{len(names)} {what}: {', '.join(names)}" for what, names in misfits.items())
    if told:
        raise CheckpointError(
            f"the weights in {path} do not fit its config.json ({told}): "
            "download the checkpoint again, or convert it again"
        )


def _kind(tensor: mx.array) -> str:
    """Weights may have any floating dtype; packed ones have exactly theirs."""
    floating = mx.issubdtype(tensor.dtype, mx.floating)
    return "a floating dtype" if floating else str(tensor.dtype)


def _cast(tensor: mx.array, dtype: mx.Dtype) -> mx.array:
    return tensor.astype(dtype) if mx.issubdtype(tensor.dtype, mx.floating) else tensor


def _ple_rows(
    infos: Mapping[str, TensorInfo],
    table: Mapping[str, mx.array],
    table_format: TableFormat,
    ple: PlePlacement,
) -> RowSource:
    if ple == "auto":
        size = sum(info.nbytes for info in infos.values())
        ple = "memory" if keeps_table_in_memory(size) else "flash"
    if ple == "memory":
        return MemoryRows(table, table_format)
    return FlashRows(infos, table, table_format)
