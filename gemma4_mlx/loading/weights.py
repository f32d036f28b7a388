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

from gemma4_mlx.config import Gemma4Config
from gemma4_mlx.errors import CheckpointError, InputError
from gemma4_mlx.generation_config import GenerationConfig
from gemma4_mlx.layer_plan import plan_layers
from gemma4_mlx.loading.ple_rows import FlashRows, MemoryRows, TableFormat
from gemma4_mlx.loading.rename import PLE_TABLE, in_our_layout, is_dropped, module_path
from gemma4_mlx.loading.safetensors_file import TensorInfo, checkpoint_tensors
from gemma4_mlx.model import Gemma4Model
from gemma4_mlx.text.per_layer_embeddings import RowSource

PlePlacement = Literal["flash", "memory", "auto"]

# "auto" keeps the table in memory up to this share of the machine's memory.
_COMFORTABLE_SHARE = 1 / 64
_TOWERS = {"vision": ("vision_tower.", "embed_vision."), "audio": ("audio_tower.", "embed_audio.")}


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
    tensors, table = _tensors(sources, config)
    config = _without_absent_towers(config, tensors)

    model = Gemma4Model(config, generation_config)
    modes = _Quantization(config.quantization)
    quantized = {name.removesuffix(".scales") for name in tensors if name.endswith(".scales")}
    modes.apply(model, quantized)
    _check_fit(path, model, tensors, table, config)

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
        self.default = {key: raw[key] for key in ("group_size", "bits", "mode") if key in raw}
        self.overrides = {
            module_path(name): value for name, value in raw.items() if isinstance(value, Mapping)
        }

    def of(self, path: str) -> dict[str, Any]:
        settings = {"mode": "affine", **self.default, **self.overrides.get(path, {})}
        if "bits" not in settings or "group_size" not in settings:
            raise CheckpointError(
                f"{path} is quantized, but config.json tells no bits and group_size for it: "
                "use the config.json that came with the conversion"
            )
        return {key: settings[key] for key in ("group_size", "bits", "mode")}

    def apply(self, model: Gemma4Model, quantized: set[str]) -> None:
        """Swap the modules that have scales in the file for quantized ones."""
        if not quantized:
            return
        try:
            nn.quantize(
                model,
                class_predicate=lambda path, _: self.of(path) if path in quantized else False,
            )
        except ValueError as error:
            raise CheckpointError(
                f"the quantization settings of config.json do not fit the weights ({error})"
            ) from None


def _tensors(
    sources: Mapping[str, TensorInfo], config: Gemma4Config
) -> tuple[dict[str, mx.array], dict[str, mx.array]]:
    """All tensors under our names, unread; and those of the per-layer embedding table by part."""
    plan = plan_layers(config.text)
    tensors: dict[str, mx.array] = {}
    table: dict[str, mx.array] = {}
    for file in sorted({info.file for info in sources.values()}):
        for name, tensor in _load(file).items():
            ours = module_path(name)
            if ours.startswith(PLE_TABLE + "."):
                table[ours.removeprefix(PLE_TABLE + ".")] = tensor
            elif not is_dropped(ours, plan):
                tensors.update(in_our_layout(ours, tensor))
    return tensors, table


def _load(file: Path) -> dict[str, mx.array]:
    """The tensors of a file whose header has been checked, not read yet."""
    try:
        return cast(dict[str, mx.array], mx.load(str(file)))
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{file} cannot be read ({reason}): download it again") from None


def _without_absent_towers(config: Gemma4Config, tensors: Mapping[str, mx.array]) -> Gemma4Config:
    """Text-only conversions keep the config of the whole model but none of a tower's tensors."""
    absent = {
        field: None
        for field, prefixes in _TOWERS.items()
        if not any(name.startswith(prefixes) for name in tensors)
    }
    return replace(config, **absent)  # type: ignore[arg-type]


def _check_fit(
    path: Path,
    model: Gemma4Model,
    tensors: Mapping[str, mx.array],
    table: Mapping[str, mx.array],
    config: Gemma4Config,
) -> None:
    parameters: dict[str, mx.array] = dict(tree_flatten(model.parameters()))
    expected = {name: array.shape for name, array in parameters.items()}
    found = {name: tensor.shape for name, tensor in tensors.items()}
    text = config.text
    if text.hidden_size_per_layer_input:
        name = f"{PLE_TABLE}.weight"
        width = text.num_hidden_layers * text.hidden_size_per_layer_input
        expected[name] = (text.vocab_size_per_layer_input, width)
        if "weight" in table:
            columns = width if "scales" in table else table["weight"].shape[-1]
            found[name] = (*table["weight"].shape[:-1], columns)
    else:
        found.update({f"{PLE_TABLE}.{part}": array.shape for part, array in table.items()})

    missing = sorted(expected.keys() - found.keys())
    unexpected = sorted(found.keys() - expected.keys())
    misshapen = [
        f"{name} is {found[name]}, expected {expected[name]}"
        for name in sorted(expected.keys() & found.keys())
        if tuple(found[name]) != tuple(expected[name])
    ]
    problems = [
        f"{len(names)} {what}: {', '.join(names)}"
        for what, names in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("misshapen", misshapen),
        )
        if names
    ]
    if problems:
        raise CheckpointError(
            f"the weights in {path} do not fit its config.json ({'; '.join(problems)}): "
            "download the checkpoint again, or convert it again"
        )


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
