"""Tiny checkpoints as mlx-vlm and mlx-lm convert them, by their own loading and saving code.

Their command lines also want a tokenizer, which a tiny checkpoint has none of; what they do to
the weights and to config.json is the same here.
"""

import json
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten

from tests.reference import families

Overrides = dict[str, dict[str, Any]]


def with_mlx_lm(source: Path, target: Path, **quantization: Any) -> Any:
    """A text-only conversion by mlx-lm, quantized when ``bits`` is given; returns their model."""
    from mlx_lm.utils import load_model, quantize_model, save_config, save_model

    # mlx-lm looks for the vocabulary's size at the top of the config.
    model, config = load_model(source, model_config={"vocab_size": families.VOCAB})
    if quantization:
        model, config = quantize_model(model, config, **quantization)
    save_model(target, model)
    save_config(config, target / "config.json")
    return model


def with_mlx_vlm(
    source: Path, target: Path, overrides: Overrides | None = None, **quantization: Any
) -> Any:
    """A conversion by mlx-vlm with its towers, quantized when ``bits`` is given.

    ``overrides`` sets other bits for modules by the end of their path, as the converter's recipes
    do, and writes them into config.json under the whole path.
    """
    from mlx_vlm.utils import load_model, save_weights, skip_multimodal_module

    model = load_model(source)
    config = json.loads((source / "config.json").read_text())
    if quantization:
        settings: dict[str, Any] = {"mode": "affine", **quantization}

        def chosen(path: str, module: nn.Module) -> bool | dict[str, Any]:
            if skip_multimodal_module(path) or not hasattr(module, "to_quantized"):
                return False
            if module.weight.shape[-1] % quantization["group_size"]:
                return False
            for end, other in (overrides or {}).items():
                if path.endswith(end):
                    settings[path] = other
                    return other
            return True

        nn.quantize(model, **quantization, class_predicate=chosen)
        config["quantization"] = config["quantization_config"] = settings
    target.mkdir(parents=True, exist_ok=True)
    mx.eval(model.parameters())
    save_weights(target, model)
    (target / "config.json").write_text(json.dumps(config, indent=4))
    return model


def names(model: Any) -> list[str]:
    """The tensor names of a peer's model."""
    return [name for name, _ in tree_flatten(model.parameters())]
