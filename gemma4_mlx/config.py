"""What a checkpoint's JSON files say about the model, as frozen dataclasses.

Two styles of ``config.json`` are in use and both are read here: the released files name
``global_head_dim`` and ``num_global_key_value_heads`` and call the vision rope ``default``;
transformers 5.23 writes ``per_layer_config`` and ``axial``. Nothing is filled in from
transformers' class defaults, which match no released model: a missing size is an error.

This module imports no mlx, so that a plan can be drawn from a config alone.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

from gemma4_mlx.errors import CheckpointError
from gemma4_mlx.json_files import Section, read_json
from gemma4_mlx.text_config import FULL, SLIDING, LayerKind, RopeConfig, TextConfig

__all__ = [
    "FULL",
    "SLIDING",
    "AudioConfig",
    "Gemma4Config",
    "LayerKind",
    "Modality",
    "RopeConfig",
    "TextConfig",
    "VisionConfig",
]


class Modality(IntEnum):
    """What a placeholder in a prompt stands for, as in ``mm_token_type_ids``, where 0 is text."""

    IMAGE = 1
    VIDEO = 2
    AUDIO = 3


@dataclass(frozen=True)
class VisionConfig:
    """The vision tower: a ViT over 16-pixel patches of an image of any aspect ratio."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    rms_norm_eps: float
    rope_theta: float
    patch_size: int
    pooling_kernel_size: int
    position_embedding_size: int
    use_clipped_linears: bool
    standardize: bool

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> "VisionConfig":
        get = Section(raw, "vision_config")
        rope = get.section("rope_parameters")
        rope.expect("rope_type", "default", "axial")  # released files; transformers 5.23
        get.expect("hidden_activation", "gelu_pytorch_tanh")
        get.expect("attention_bias", False)
        return cls(
            hidden_size=get.integer("hidden_size"),
            intermediate_size=get.integer("intermediate_size"),
            num_hidden_layers=get.integer("num_hidden_layers"),
            num_attention_heads=get.integer("num_attention_heads"),
            num_key_value_heads=get.integer("num_key_value_heads"),
            head_dim=get.integer("head_dim"),
            rms_norm_eps=get.number("rms_norm_eps", 1e-6),
            rope_theta=rope.number("rope_theta", 100.0),
            patch_size=get.integer("patch_size"),
            pooling_kernel_size=get.integer("pooling_kernel_size"),
            position_embedding_size=get.integer("position_embedding_size"),
            use_clipped_linears=get.boolean("use_clipped_linears"),
            standardize=get.boolean("standardize"),
        )


@dataclass(frozen=True)
class AudioConfig:
    """The audio tower: convolutional subsampling to 40 ms frames, then a conformer."""

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    subsampling_conv_channels: tuple[int, int]
    conv_kernel_size: int
    residual_weight: float
    attention_chunk_size: int
    attention_context_left: int
    attention_context_right: int
    attention_logit_cap: float
    attention_invalid_logits_value: float
    use_clipped_linears: bool
    rms_norm_eps: float
    gradient_clipping: float
    output_proj_dims: int

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> "AudioConfig":
        get = Section(raw, "audio_config")
        get.expect("hidden_act", "silu")
        channels = get.value("subsampling_conv_channels")
        if not (isinstance(channels, list) and len(channels) == 2 and _all_positive(channels)):
            get.refuse("subsampling_conv_channels", "two whole numbers of at least 1")
        hidden_size, heads = get.integer("hidden_size"), get.integer("num_attention_heads")
        if hidden_size % heads:
            get.refuse("num_attention_heads", f"a divisor of the hidden_size {hidden_size}")
        return cls(
            hidden_size=hidden_size,
            num_hidden_layers=get.integer("num_hidden_layers"),
            num_attention_heads=heads,
            subsampling_conv_channels=(channels[0], channels[1]),
            conv_kernel_size=get.integer("conv_kernel_size"),
            residual_weight=get.number("residual_weight"),
            attention_chunk_size=get.integer("attention_chunk_size"),
            attention_context_left=get.integer("attention_context_left"),
            attention_context_right=get.integer("attention_context_right", at_least=0),
            attention_logit_cap=get.number("attention_logit_cap"),
            attention_invalid_logits_value=get.number(
                "attention_invalid_logits_value", above=-math.inf
            ),
            use_clipped_linears=get.boolean("use_clipped_linears"),
            rms_norm_eps=get.number("rms_norm_eps", 1e-6),
            gradient_clipping=get.number("gradient_clipping"),
            output_proj_dims=get.integer("output_proj_dims"),
        )


@dataclass(frozen=True)
class Gemma4Config:
    """A whole model: the decoder, its towers (None where it has none) and its special ids."""

    text: TextConfig
    vision: VisionConfig | None
    audio: AudioConfig | None
    image_token_id: int
    video_token_id: int
    audio_token_id: int
    boi_token_id: int
    eoi_token_id: int
    boa_token_id: int
    eoa_token_id: int
    eos_token_ids: tuple[int, ...]
    quantization: Mapping[str, Any] | None

    @property
    def placeholders(self) -> dict[int, Modality]:
        """The ids of which a prompt holds one for every token that a tower will give."""
        return {
            self.image_token_id: Modality.IMAGE,
            self.video_token_id: Modality.VIDEO,
            self.audio_token_id: Modality.AUDIO,
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> "Gemma4Config":
        """Read a parsed ``config.json``, of a whole model or of the text model alone.

        Raises CheckpointError for another model's config and for a missing or odd value.
        """
        model_type = raw.get("model_type")
        if model_type == "gemma4_text":  # saved by Gemma4ForCausalLM: no towers, flat file
            raw = {"text_config": raw, "eos_token_id": raw.get("eos_token_id"), **_quant(raw)}
        elif model_type != "gemma4":
            raise CheckpointError(_foreign_model(model_type))

        get = Section(raw, "the model")
        get.expect("tie_word_embeddings", True)
        text_section = get.section("text_config")
        text = TextConfig.from_dict(text_section.raw)
        vision, audio = raw.get("vision_config"), raw.get("audio_config")
        ends = text_section if raw.get("eos_token_id") is None else get
        # Without towers these ids occur nowhere; −1 is no token.
        return cls(
            text=text,
            vision=VisionConfig.from_dict(vision) if vision else None,
            audio=AudioConfig.from_dict(audio) if audio else None,
            image_token_id=get.integer("image_token_id", -1, at_least=0),
            video_token_id=get.integer("video_token_id", -1, at_least=0),
            audio_token_id=get.integer("audio_token_id", -1, at_least=0),
            boi_token_id=get.integer("boi_token_id", -1, at_least=0),
            eoi_token_id=get.integer("eoi_token_id", -1, at_least=0),
            boa_token_id=get.integer("boa_token_id", -1, at_least=0),
            eoa_token_id=get.integer(
                "eoa_token_id", get.integer("eoa_token_index", -1, at_least=0), at_least=0
            ),
            eos_token_ids=ends.ids("eos_token_id", text.vocab_size),
            quantization=_quant(raw).get("quantization"),
        )

    @classmethod
    def from_dir(cls, path: Path) -> "Gemma4Config":
        """Read ``path/config.json``."""
        return cls.from_dict(read_json(Path(path) / "config.json"))


def _quant(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The MLX quantization settings; a ``quantization_config`` of other tools is refused."""
    settings = raw.get("quantization") or raw.get("quantization_config")
    if not settings:
        return {}
    if not isinstance(settings, Mapping):
        Section(raw, "the model").refuse("quantization", "an object with group_size and bits")
    if "quant_method" in settings:
        raise CheckpointError(
            f"the weights are quantized with {settings['quant_method']!r}, which MLX cannot read: "
            "use the bf16 checkpoint, or an MLX conversion of it"
        )
    return {"quantization": settings}


def _foreign_model(model_type: object) -> str:
    if model_type == "gemma4_unified":
        return "Gemma 4 12B (gemma4_unified) is not supported yet; use E2B, E4B, 26B A4B or 31B"
    if model_type in ("gemma4_assistant", "gemma4_unified_assistant"):
        return "this is an assistant, which drafts for a Gemma 4: not supported yet; use the model"
    if model_type is None:
        return "config.json has no model_type: it is not the config.json of a Gemma 4 checkpoint"
    return (
        f"config.json is of a {model_type!r} model, expected 'gemma4': choose a Gemma 4 checkpoint"
    )


def _all_positive(values: list[Any]) -> bool:
    return all(type(value) is int and value > 0 for value in values)
