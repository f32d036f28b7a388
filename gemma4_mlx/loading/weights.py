"""Fill a model from a checkpoint: strictly, lazily, and with every problem told at once.

Each tensor of the files must have its place in the model and each parameter its tensor, or both
are named in one error. Nothing is read but headers: MLX reads a weight when it is first used, so
the towers cost nothing until a picture or a recording comes, and the per-layer embedding table
stays on flash.
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten

from gemma4_mlx.config import Gemma4Config, TextConfig
from gemma4_mlx.errors import CheckpointError, InputError
from gemma4_mlx.generation_config import GenerationConfig
from gemma4_mlx.layer_plan import LayerPlan, plan_layers
from gemma4_mlx.loading.ple_rows import FlashRows, MemoryRows, TableFormat
from gemma4_mlx.loading.rename import PLE_TABLE, in_our_layout, is_dropped, module_path
from gemma4_mlx.loading.safetensors_file import TensorInfo, checkpoint_tensors
from gemma4_mlx.model import Gemma4Model
from gemma4_mlx.text.per_layer_embeddings import RowSource

PlePlacement = Literal["flash", "memory", "auto"]

# "auto" keeps the table in memory up to this share of the machine's memory.
_COMFORTABLE_SHARE = 1 / 64
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
    tensors, twice = _tensors(sources, plan_layers(config.text))
    if _is_text_only(tensors):
        config = replace(config, vision=None, audio=None)

    model = Gemma4Model(config, generation_config)
    modes = _Quantization(config.quantization)
    modes.apply(model, {name.removesuffix(".scales") for name in tensors if _is_scales(name)})
    expected: dict[str, mx.array] = dict(tree_flatten(model.parameters()))
    expected.update(_table_parts(config.text, modes, f"{PLE_TABLE}.scales" in tensors))
    _check_fit(path, expected, tensors, twice)

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
        return {
            "group_size": settings.get("group_size"),
            "bits": settings.get("bits"),
            "mode": settings.get("mode", "affine"),
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
    return (
        f"the quantization settings of config.json do not fit the weights ({error}): "
        "use the config.json that came with the conversion"
    )


def _tensors(
    sources: Mapping[str, TensorInfo], plan: tuple[LayerPlan, ...]
) -> tuple[dict[str, mx.array], list[str]]:
    """All tensors under our names, unread, and the names that two of them claim."""
    tensors: dict[str, mx.array] = {}
    twice: list[str] = []
    for file in sorted({info.file for info in sources.values()}):
        for name, tensor in _load(file).items():
            path = module_path(name)
            if is_dropped(path, plan):
                continue
            ours = in_our_layout(path, tensor)
            twice += [name for name in ours if name in tensors]
            tensors.update(ours)
    return tensors, twice


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


def _check_fit(
    path: Path,
    expected: Mapping[str, mx.array],
    found: Mapping[str, mx.array],
    twice: list[str],
) -> None:
    """CheckpointError that names every tensor which does not fit."""
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
    told = "; ".join(
        f"{len(names)} {what}: {', '.join(names)}" for what, names in problems.items() if names
    )
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
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        size = sum(info.nbytes for info in infos.values())
        ple = "memory" if size <= memory * _COMFORTABLE_SHARE else "flash"
    if ple == "memory":
        return MemoryRows(table, table_format)
    return FlashRows(infos, table, table_format)
