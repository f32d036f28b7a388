"""Find a checkpoint, check it, and load it: weights alone, or with its processor."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import mlx.core as mx

from gemma4_mlx.errors import InputError
from gemma4_mlx.hub import ALIASES
from gemma4_mlx.loading.find import find_checkpoint
from gemma4_mlx.loading.weights import PlePlacement, load_weights
from gemma4_mlx.model import Gemma4Model

if TYPE_CHECKING:
    from gemma4_mlx.processing.processor import Processor

__all__ = ["ALIASES", "find_checkpoint", "load", "load_model"]


def load(name: str | Path, ple: PlePlacement = "auto") -> tuple[Gemma4Model, Processor]:
    """The model and the processor of a checkpoint, in Hugging Face layout or an MLX conversion.

    ``name`` is a directory, a hub id, an alias (e2b, e4b, 26b, 31b) or "demo". ``ple`` says where
    the per-layer embedding table stays: "flash", "memory", or "auto": in memory when it takes at
    most 1/64 of the machine's.

    Raises CheckpointError or HubError, in one line that says what to do.
    """
    from gemma4_mlx.processing.processor import Processor  # weights alone need none of it

    path = find_checkpoint(name)
    model = load_weights(path, ple=ple)
    return model, Processor.from_dir(path, model.config)


def load_model(
    name: str | Path, dtype: mx.Dtype | str | None = None, ple: PlePlacement = "auto"
) -> Gemma4Model:
    """The model alone: no tokenizer is needed. ``dtype`` (as "float32") overrides the file's."""
    if isinstance(dtype, str):
        found = getattr(mx, dtype, None)
        if not isinstance(found, mx.Dtype) or not mx.issubdtype(found, mx.floating):
            raise InputError(f"dtype is {dtype!r}, expected 'float32', 'bfloat16' or 'float16'")
        dtype = found
    return load_weights(find_checkpoint(name), dtype, ple)
