"""What a checkpoint's JSON files say about the model, as frozen dataclasses.

Two styles of ``config.json`` are in use and both are read here: the released files name
``global_head_dim`` and ``num_global_key_value_heads`` and call the vision rope ``default``;
transformers 5.23 writes ``per_layer_config`` and ``axial``. Nothing is filled in from
transformers' class defaults, which match no released model: a missing size is an error.

This module imports no mlx, so that a plan can be drawn from a config alone.
"""

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
        num_layers = get("num_hidden_layers")
        layer_types = _layer_types(get("layer_types"), num_layers)
        k_eq_v = bool(get("attention_k_eq_v", False))
        head_dim, kv_heads = get("head_dim"), get("num_key_value_heads")
        global_head_dim, global_kv_heads = _global_sizes(raw, layer_types, head_dim, kv_heads)

        attention = get("use_bidirectional_attention", None)
        if attention not in (None, "vision"):
            raise CheckpointError(
                f"config.json: use_bidirectional_attention is {attention!r}; "
                "only null and 'vision' exist in Gemma 4 chat models"
            )
        get.expect("hidden_activation", "gelu_pytorch_tanh")
        get.expect("attention_bias", False)
        get.expect("tie_word_embeddings", True)

        moe = bool(get("enable_moe_block", False))
        return cls(
            vocab_size=get("vocab_size"),
            hidden_size=get("hidden_size"),
            intermediate_size=get("intermediate_size"),
            num_hidden_layers=num_layers,
            num_attention_heads=get("num_attention_heads"),
            num_key_value_heads=kv_heads,
            num_global_key_value_heads=global_kv_heads,
            head_dim=head_dim,
            global_head_dim=global_head_dim,
            sliding_window=get("sliding_window"),
            layer_types=layer_types,
            rope=_text_rope(get("rope_parameters")),
            max_position_embeddings=get("max_position_embeddings"),
            rms_norm_eps=get("rms_norm_eps", 1e-6),
            pad_token_id=get("pad_token_id", 0),
            final_logit_softcapping=get("final_logit_softcapping", None),
            num_kv_shared_layers=get("num_kv_shared_layers", 0),
            use_double_wide_mlp=bool(get("use_double_wide_mlp", False)),
            attention_k_eq_v=k_eq_v,
            bidirectional_vision=attention == "vision",
            vocab_size_per_layer_input=get("vocab_size_per_layer_input", get("vocab_size")),
            hidden_size_per_layer_input=get("hidden_size_per_layer_input", 0) or 0,
            enable_moe_block=moe,
            num_experts=get("num_experts") if moe else 0,
            top_k_experts=get("top_k_experts") if moe else 0,
            moe_intermediate_size=get("moe_intermediate_size") if moe else 0,
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
        rope = dict(get("rope_parameters"))
        if rope.get("rope_type") not in ("default", "axial"):
            raise CheckpointError(
                f"config.json: vision rope_type is {rope.get('rope_type')!r}, "
                "expected 'default' (released files) or 'axial' (transformers 5.23)"
            )
        get.expect("hidden_activation", "gelu_pytorch_tanh")
        get.expect("attention_bias", False)
        return cls(
            hidden_size=get("hidden_size"),
            intermediate_size=get("intermediate_size"),
            num_hidden_layers=get("num_hidden_layers"),
            num_attention_heads=get("num_attention_heads"),
            num_key_value_heads=get("num_key_value_heads"),
            head_dim=get("head_dim"),
            rms_norm_eps=get("rms_norm_eps", 1e-6),
            rope_theta=rope.get("rope_theta", 100.0),
            patch_size=get("patch_size"),
            pooling_kernel_size=get("pooling_kernel_size"),
            position_embedding_size=get("position_embedding_size"),
            use_clipped_linears=bool(get("use_clipped_linears", False)),
            standardize=bool(get("standardize", False)),
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
        first, second = get("subsampling_conv_channels")
        return cls(
            hidden_size=get("hidden_size"),
            num_hidden_layers=get("num_hidden_layers"),
            num_attention_heads=get("num_attention_heads"),
            subsampling_conv_channels=(first, second),
            conv_kernel_size=get("conv_kernel_size"),
            residual_weight=get("residual_weight"),
            attention_chunk_size=get("attention_chunk_size"),
            attention_context_left=get("attention_context_left"),
            attention_context_right=get("attention_context_right"),
            attention_logit_cap=get("attention_logit_cap"),
            attention_invalid_logits_value=get("attention_invalid_logits_value"),
            use_clipped_linears=bool(get("use_clipped_linears", False)),
            rms_norm_eps=get("rms_norm_eps", 1e-6),
            gradient_clipping=get("gradient_clipping"),
            output_proj_dims=get("output_proj_dims"),
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

        get = Section(raw, "config.json")
        text = TextConfig.from_dict(get("text_config"))
        vision, audio = raw.get("vision_config"), raw.get("audio_config")
        # Without towers these ids occur nowhere; −1 is no token.
        return cls(
            text=text,
            vision=VisionConfig.from_dict(vision) if vision else None,
            audio=AudioConfig.from_dict(audio) if audio else None,
            image_token_id=get("image_token_id", -1),
            video_token_id=get("video_token_id", -1),
            audio_token_id=get("audio_token_id", -1),
            boi_token_id=get("boi_token_id", -1),
            eoi_token_id=get("eoi_token_id", -1),
            boa_token_id=get("boa_token_id", -1),
            eoa_token_id=get("eoa_token_id", get("eoa_token_index", -1)),
            eos_token_ids=as_id_tuple(
                raw.get("eos_token_id") or get("text_config")["eos_token_id"]
            ),
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
    if raw.get("quantization"):
        return {"quantization": raw["quantization"]}
    other = raw.get("quantization_config")
    if other and "quant_method" in other:
        raise CheckpointError(
            f"the weights are quantized with {other['quant_method']!r}, which MLX cannot read: "
            "use the bf16 checkpoint, or an MLX conversion of it"
        )
    return {"quantization": other} if other else {}


def _foreign_model(model_type: object) -> str:
    if model_type == "gemma4_unified":
        return "Gemma 4 12B (gemma4_unified) is not supported yet; use E2B, E4B, 26B A4B or 31B"
    if model_type is None:
        return "config.json has no model_type: it is not the config.json of a Gemma 4 checkpoint"
    return (
        f"config.json is of a {model_type!r} model, expected 'gemma4': choose a Gemma 4 checkpoint"
    )


def _layer_types(raw: Any, num_layers: int) -> tuple[LayerKind, ...]:
    kinds = tuple(raw)
    unknown = sorted(set(kinds) - {SLIDING, FULL})
    if unknown or len(kinds) != num_layers:
        raise CheckpointError(
            f"config.json: layer_types names {len(kinds)} layers of kinds {sorted(set(kinds))}, "
            f"expected {num_layers} of {SLIDING!r} and {FULL!r}"
        )
    return kinds


def _global_sizes(
    raw: Mapping[str, Any], layer_types: tuple[LayerKind, ...], head_dim: int, kv_heads: int
) -> tuple[int, int]:
    """Head dim and kv heads of the global layers, from either style of config."""
    overrides = raw.get("per_layer_config")
    if overrides is None:
        # num_global_key_value_heads counts only where keys serve as values (26B, 31B).
        global_kv = raw.get("num_global_key_value_heads") if raw.get("attention_k_eq_v") else None
        return raw.get("global_head_dim") or head_dim, global_kv or kv_heads

    # transformers 5.23: {"05": {"head_dim": …}, …} by layer index, or by kind of layer.
    per_kind: dict[str, set[tuple[int, int]]] = {SLIDING: set(), FULL: set()}
    by_index = {int(key): value for key, value in overrides.items() if str(key).isdigit()}
    for index, kind in enumerate(layer_types):
        layer = by_index.get(index, overrides.get(kind, {}))
        sizes = (layer.get("head_dim", head_dim), layer.get("num_key_value_heads", kv_heads))
        per_kind[kind].add(sizes)
    if len(per_kind[FULL]) > 1 or per_kind[SLIDING] - {(head_dim, kv_heads)}:
        raise CheckpointError(
            "config.json: per_layer_config gives layers of one kind different head sizes, "
            "which no Gemma 4 model has"
        )
    return next(iter(per_kind[FULL]), (head_dim, kv_heads))


def _text_rope(raw: Mapping[str, Any]) -> dict[LayerKind, RopeConfig]:
    rope: dict[LayerKind, RopeConfig] = {}
    for kind, known in ((SLIDING, "default"), (FULL, "proportional")):
        parameters = raw.get(kind) or {}
        if parameters.get("rope_type") != known or "rope_theta" not in parameters:
            raise CheckpointError(
                f"config.json: rope_parameters[{kind!r}] is {parameters!r}, "
                f"expected rope_type {known!r} and a rope_theta"
            )
        rope[kind] = RopeConfig(
            theta=float(parameters["rope_theta"]),
            partial_rotary_factor=float(parameters.get("partial_rotary_factor", 1.0)),
        )
    return rope
