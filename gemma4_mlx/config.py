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
from pathlib import Path
from typing import Any, Literal

from gemma4_mlx.errors import CheckpointError
from gemma4_mlx.json_files import Section, read_json

LayerKind = Literal["sliding_attention", "full_attention"]

SLIDING: LayerKind = "sliding_attention"
FULL: LayerKind = "full_attention"


@dataclass(frozen=True)
class RopeConfig:
    """Rotary position embedding of one kind of layer.

    ``partial_rotary_factor`` is the share of frequency pairs that turn (1.0: all of them).
    """

    theta: float
    partial_rotary_factor: float = 1.0


@dataclass(frozen=True)
class TextConfig:
    """The decoder: sizes, the pattern of local and global layers, and what they share."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    num_global_key_value_heads: int
    head_dim: int
    global_head_dim: int
    sliding_window: int
    layer_types: tuple[LayerKind, ...]
    rope: Mapping[LayerKind, RopeConfig]
    max_position_embeddings: int
    rms_norm_eps: float
    pad_token_id: int
    final_logit_softcapping: float | None
    num_kv_shared_layers: int
    use_double_wide_mlp: bool
    attention_k_eq_v: bool
    bidirectional_vision: bool
    vocab_size_per_layer_input: int
    hidden_size_per_layer_input: int
    enable_moe_block: bool
    num_experts: int
    top_k_experts: int
    moe_intermediate_size: int

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> "TextConfig":
        get = Section(raw, "text_config")
        get.expect("hidden_activation", "gelu_pytorch_tanh")
        get.expect("attention_bias", False)
        get.expect("tie_word_embeddings", True)
        # "all" exists in the reference, for embedding models made from Gemma.
        get.expect("use_bidirectional_attention", "vision")

        num_layers, vocab_size = get.integer("num_hidden_layers"), get.integer("vocab_size")
        layer_types = _layer_types(get, num_layers)
        head_dim, kv_heads = get.integer("head_dim"), get.integer("num_key_value_heads")
        global_head_dim, global_kv_heads = _global_sizes(get, layer_types, head_dim, kv_heads)
        heads = get.integer("num_attention_heads")
        if heads % kv_heads or heads % global_kv_heads:
            get.refuse("num_attention_heads", f"a multiple of {kv_heads} and {global_kv_heads}")
        if head_dim % 2 or global_head_dim % 2:
            get.refuse("head_dim", "an even number")
        shared = get.integer("num_kv_shared_layers", 0, at_least=0)
        if shared >= num_layers:
            get.refuse("num_kv_shared_layers", f"less than the {num_layers} layers")
        pad = get.integer("pad_token_id", 0, at_least=0)
        if pad >= vocab_size:
            get.refuse("pad_token_id", f"an id below {vocab_size}")
        moe = get.boolean("enable_moe_block")
        experts = get.integer("num_experts") if moe else 0
        top_k = get.integer("top_k_experts") if moe else 0
        if top_k > experts:
            get.refuse("top_k_experts", f"at most the {experts} experts")

        return cls(
            vocab_size=vocab_size,
            hidden_size=get.integer("hidden_size"),
            intermediate_size=get.integer("intermediate_size"),
            num_hidden_layers=num_layers,
            num_attention_heads=heads,
            num_key_value_heads=kv_heads,
            num_global_key_value_heads=global_kv_heads,
            head_dim=head_dim,
            global_head_dim=global_head_dim,
            sliding_window=get.integer("sliding_window"),
            layer_types=layer_types,
            rope=_text_rope(get.section("rope_parameters")),
            max_position_embeddings=get.integer("max_position_embeddings"),
            rms_norm_eps=get.number("rms_norm_eps", 1e-6),
            pad_token_id=pad,
            final_logit_softcapping=get.number("final_logit_softcapping", None),
            num_kv_shared_layers=shared,
            use_double_wide_mlp=get.boolean("use_double_wide_mlp"),
            attention_k_eq_v=get.boolean("attention_k_eq_v"),
            bidirectional_vision=get.value("use_bidirectional_attention", None) == "vision",
            vocab_size_per_layer_input=get.integer("vocab_size_per_layer_input", vocab_size),
            hidden_size_per_layer_input=get.integer("hidden_size_per_layer_input", 0, at_least=0),
            enable_moe_block=moe,
            num_experts=experts,
            top_k_experts=top_k,
            moe_intermediate_size=get.integer("moe_intermediate_size") if moe else 0,
        )


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
        return cls(
            hidden_size=get.integer("hidden_size"),
            num_hidden_layers=get.integer("num_hidden_layers"),
            num_attention_heads=get.integer("num_attention_heads"),
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
            eos_token_ids=(get if raw.get("eos_token_id") else text_section).ids("eos_token_id"),
            quantization=_quant(raw).get("quantization"),
        )

    @classmethod
    def from_dir(cls, path: Path) -> "Gemma4Config":
        """Read ``path/config.json``."""
        return cls.from_dict(read_json(Path(path) / "config.json"))


def as_id_tuple(ids: int | list[int] | tuple[int, ...]) -> tuple[int, ...]:
    """A config's token id field, which may be one id or a list, as a tuple."""
    return (ids,) if isinstance(ids, int) else tuple(ids)


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
    if model_type is None:
        return "config.json has no model_type: it is not the config.json of a Gemma 4 checkpoint"
    return (
        f"config.json is of a {model_type!r} model, expected 'gemma4': choose a Gemma 4 checkpoint"
    )


def _all_positive(values: list[Any]) -> bool:
    return all(type(value) is int and value > 0 for value in values)


def _layer_types(get: Section, num_layers: int) -> tuple[LayerKind, ...]:
    kinds = get.value("layer_types")
    if (
        not isinstance(kinds, list)
        or len(kinds) != num_layers
        or any(kind not in (SLIDING, FULL) for kind in kinds)
    ):
        get.refuse("layer_types", f"a list of {num_layers} times {SLIDING!r} or {FULL!r}")
    return tuple(kinds)


def _global_sizes(
    get: Section, layer_types: tuple[LayerKind, ...], head_dim: int, kv_heads: int
) -> tuple[int, int]:
    """Head dim and kv heads of the global layers, from either style of config."""
    if get.value("per_layer_config", None) is None:
        # num_global_key_value_heads counts only where keys serve as values (26B, 31B).
        k_eq_v = get.boolean("attention_k_eq_v")
        return (
            get.integer("global_head_dim", head_dim),
            get.integer("num_global_key_value_heads", kv_heads) if k_eq_v else kv_heads,
        )

    # transformers 5.23: {"05": {"head_dim": …}, …} by layer index, or by kind of layer.
    overrides = get.section("per_layer_config")
    names = {str(int(key)): key for key in overrides.raw if str(key).isdigit()}
    per_kind: dict[str, set[tuple[int, int]]] = {SLIDING: set(), FULL: set()}
    for index, kind in enumerate(layer_types):
        name = names.get(str(index), kind)
        layer = overrides.section(name) if name in overrides.raw else Section({}, name)
        per_kind[kind].add(
            (
                layer.integer("head_dim", head_dim),
                layer.integer("num_key_value_heads", kv_heads),
            )
        )
    if len(per_kind[FULL]) > 1 or per_kind[SLIDING] - {(head_dim, kv_heads)}:
        get.refuse("per_layer_config", "the same sizes for all layers of a kind")
    return next(iter(per_kind[FULL]), (head_dim, kv_heads))


def _text_rope(get: Section) -> dict[LayerKind, RopeConfig]:
    rope: dict[LayerKind, RopeConfig] = {}
    for kind, known in ((SLIDING, "default"), (FULL, "proportional")):
        parameters = get.section(kind)
        parameters.expect("rope_type", known)
        rope[kind] = RopeConfig(
            theta=parameters.number("rope_theta"),
            partial_rotary_factor=parameters.number("partial_rotary_factor", 1.0, to=1.0),
        )
    return rope
