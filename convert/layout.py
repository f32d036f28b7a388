"""The names and the config of an MLX checkpoint, as mlx-vlm writes them and mlx-lm reads them.

Our modules are named after the Hugging Face tensors without their leading ``model.``; mlx-vlm
puts the decoder one level deeper, under ``language_model.model``. Tensors already have MLX's
shapes when they come here: convolutions channels last, experts as ``switch_glu``.
"""

from collections.abc import Mapping
from typing import Any

from gemma4_mlx.config import Gemma4Config

DECODER = "language_model."
SECTIONS = ("text_config", "vision_config", "audio_config")


def mlx_name(name: str) -> str:
    """``language_model.layers.3.…`` → ``language_model.model.layers.3.…``; others stay."""
    if name.startswith(DECODER):
        return f"{DECODER}model.{name.removeprefix(DECODER)}"
    return name


def mlx_config(
    raw: Mapping[str, Any], quantization: Mapping[str, Any] | None, dtype: str | None
) -> dict[str, Any]:
    """config.json of the conversion, in the style of the released files.

    transformers 5.23 writes the global layers' sizes as ``per_layer_config`` and the vision rope
    as ``axial``; mlx-vlm and mlx-lm read only the released keys, so these are written. The flat
    config of a text model is put where a whole model has it, as the tensors are.
    """
    sizes = Gemma4Config.from_dict(raw)
    config = dict(raw)
    if raw.get("model_type") == "gemma4_text":  # saved as a text model alone
        config = {"model_type": "gemma4", "text_config": raw, "vision_config": None}
    for section in SECTIONS:
        if config.get(section):
            config[section] = dict(config[section])
    # mlx-lm takes the size of the vocabulary from here, and without it from the released models.
    config["vocab_size"] = sizes.text.vocab_size
    text = config["text_config"]
    if text.pop("per_layer_config", None) is not None:
        text["global_head_dim"] = sizes.text.global_head_dim
        text["num_global_key_value_heads"] = (
            sizes.text.num_global_key_value_heads if sizes.text.attention_k_eq_v else None
        )
    vision = config.get("vision_config")
    if vision and sizes.vision is not None:
        vision["rope_parameters"] = {"rope_theta": sizes.vision.rope_theta, "rope_type": "default"}

    if dtype is not None:
        for part in (config, *(config.get(section) or {} for section in SECTIONS)):
            for key in ("dtype", "torch_dtype"):
                if part.get(key) is not None:
                    part[key] = dtype
    if quantization is not None:
        config["quantization"] = dict(quantization)
        config["quantization_config"] = config["quantization"]  # where the hub's page looks
    return config
