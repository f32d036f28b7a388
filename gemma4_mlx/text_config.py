"""The decoder's part of ``config.json``, in either of the two styles that are in use."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from gemma4_mlx.json_files import Section

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

    def turning_pairs(self, head_dim: int) -> int:
        """How many of the ``head_dim / 2`` frequency pairs of a head turn."""
        return int(self.partial_rotary_factor * head_dim) // 2


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
            get.refuse("head_dim", f"an even number, as in global layers (there {global_head_dim})")
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
    names = {str(int(key)): key for key in overrides.raw if str(key).isdecimal()}
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
