"""Tiny checkpoints as mlx-vlm and mlx-lm convert them, and what these two compute with one.

``with_mlx_lm`` and ``with_mlx_vlm`` go by the peers' own loading and saving code, for checkpoints
without a tokenizer; ``mlx_lm_convert`` and ``mlx_vlm_convert`` are their commands, which want one.
"""

import importlib
import json
import shutil
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx.utils import tree_flatten

from tests.reference import families
from tests.reference.checkpoints import edit_json
from tests.reference.inputs import Inputs

Overrides = dict[str, dict[str, Any]]

# A tokenizer, a processor and a template, for what wants them to be there.
TEXT_FILES = Path(__file__).resolve().parents[2] / "notebooks" / "demo_model" / "hf"


def divisible_config(family: str) -> dict[str, Any]:
    """The family's config with widths that take every group size, as the released ones nearly do.

    In the tiny models of ``families`` most widths are no multiple of 64: converters keep those.
    """
    sizes = {"hidden_size": 128, "intermediate_size": 128, "head_dim": 32, "global_head_dim": 64}
    if family in families.BIG:
        sizes |= {"moe_intermediate_size": 128} if family == "26b" else {}
    else:
        sizes |= {"hidden_size_per_layer_input": 64}
    config = families.raw_config(family, **sizes)
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2}
    config["vision_config"] |= {**heads, "hidden_size": 64, "intermediate_size": 128}
    config["vision_config"] |= {"head_dim": 32, "global_head_dim": 32}
    if config["audio_config"]:
        config["audio_config"] |= {"hidden_size": 64, "output_proj_dims": 192}
    return config


def add_text_files(path: Path) -> None:
    """Put a tokenizer and what goes with it beside the weights, for the peers' commands."""
    for file in TEXT_FILES.iterdir():
        if file.name.startswith(("tokenizer", "processor", "chat_template")):
            shutil.copyfile(file, path / file.name)
    edit_json(path / "config.json", vocab_size=families.VOCAB)  # where mlx-lm looks for it


def mlx_lm_convert(source: Path, target: Path, **options: Any) -> None:
    """``mlx_lm.convert`` with these options (``quantize``, ``q_bits``, ``quant_predicate`` …)."""
    command = importlib.import_module("mlx_lm.convert")  # the package has a function of that name
    command.convert(str(source), str(target), **options)


def mlx_vlm_convert(source: Path, target: Path, **options: Any) -> None:
    """``mlx_vlm.convert`` with these options (``quantize``, ``q_bits``, ``quant_predicate`` …)."""
    command = importlib.import_module("mlx_vlm.convert")
    command.convert(str(source), str(target), **options)


class MlxLm:
    """A checkpoint as mlx-lm reads it: the text alone."""

    def __init__(self, path: Path):
        from mlx_lm.utils import load_model

        self.model, _ = load_model(path)

    def logits(self, inputs: Inputs) -> np.ndarray:
        """Logits (B, L, V) of the text."""
        return np.array(self.model(mx.array(inputs["input_ids"])).astype(mx.float32))


class MlxVlm:
    """A checkpoint as mlx-vlm reads it, with its towers."""

    def __init__(self, path: Path):
        from mlx_vlm.utils import load_model

        self.model = load_model(path)

    def logits(self, inputs: Inputs, soft_tokens: mx.array | None = None) -> np.ndarray:
        """Logits (B, L, V), given the arrays that its own processor makes.

        ``soft_tokens`` (1, tokens, H) take the place of what its tower makes of the pictures.
        """
        arrays = {
            name: mx.array(value.astype(np.int32) if value.dtype == np.int64 else value)
            for name, value in inputs.items()
            if name not in ("attention_mask", "num_frames_per_video")
        }
        if soft_tokens is not None:
            arrays["cached_image_features"] = soft_tokens
        out = self.model(arrays.pop("input_ids"), **arrays)
        return np.array(out.logits.astype(mx.float32))

    def soft_tokens(self, inputs: Inputs) -> np.ndarray:
        """What the vision tower and its projector make of the pictures: (1, tokens, H)."""
        positions = mx.array(inputs["image_position_ids"].astype(np.int32))
        tokens = self.model.encode_image(mx.array(inputs["pixel_values"]), positions)
        return np.array(tokens.astype(mx.float32))


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
