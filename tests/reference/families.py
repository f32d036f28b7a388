"""Configs of four tiny Gemma 4 models, one for each released family.

Every structural choice of the released ``config.json`` is kept (per-layer embeddings, KV sharing,
double-wide MLPs, K=V global layers, experts, clipped or standardized towers, which layers see
images in both directions); every size is shrunk, and windows are small enough that short prompts
cross them. The sizes are chosen so that mistakes show: no two head sizes, widths or head counts
that the real models keep apart are equal here.

The dicts are in the style of the released files. ``transformers_side.config_in_5_23_style``
writes the other one.
"""

import copy
from typing import Any

FAMILIES = ("e2b", "e4b", "26b", "31b")
BIG = ("26b", "31b")  # image blocks seen in both directions, K=V global layers, no audio
TITLES = {"e2b": "E2B", "e4b": "E4B", "26b": "26B A4B", "31b": "31B"}

VOCAB = 128
PAD, EOS, BOS = 0, 1, 2
TURN_END, TOOL_RESPONSE = 6, 5
FIRST_TEXT_ID, LAST_TEXT_ID = 10, 117  # ordinary tokens: neither control nor media
SPECIAL_IDS = {
    "boi_token_id": 118,
    "eoi_token_id": 119,
    "boa_token_id": 120,
    "eoa_token_id": 121,
    "eoa_token_index": 121,
    "image_token_id": 125,
    "audio_token_id": 126,
    "video_token_id": 127,
}

SLIDING, FULL = "sliding_attention", "full_attention"


def _pattern(local: int, blocks: int) -> list[str]:
    return ([SLIDING] * local + [FULL]) * blocks


_TEXT: dict[str, Any] = {
    "attention_bias": False,
    "attention_dropout": 0.0,
    "attention_k_eq_v": False,
    "bos_token_id": BOS,
    "dtype": "float32",
    "enable_moe_block": False,
    "eos_token_id": EOS,
    "final_logit_softcapping": 30.0,
    "head_dim": 16,
    "global_head_dim": 32,
    "hidden_activation": "gelu_pytorch_tanh",
    "hidden_size": 64,
    "hidden_size_per_layer_input": 0,
    "initializer_range": 0.02,
    "max_position_embeddings": 512,
    "model_type": "gemma4_text",
    "num_experts": None,
    "num_global_key_value_heads": None,
    "num_kv_shared_layers": 0,
    "pad_token_id": PAD,
    "rms_norm_eps": 1e-6,
    "rope_parameters": {
        FULL: {
            "partial_rotary_factor": 0.25,
            "rope_theta": 1000000.0,
            "rope_type": "proportional",
        },
        SLIDING: {"rope_theta": 10000.0, "rope_type": "default"},
    },
    "tie_word_embeddings": True,
    "top_k_experts": None,
    "use_bidirectional_attention": None,
    "use_cache": True,
    "use_double_wide_mlp": False,
    "vocab_size": VOCAB,
    "vocab_size_per_layer_input": VOCAB,
}

_VISION: dict[str, Any] = {
    "attention_bias": False,
    "attention_dropout": 0.0,
    "default_output_length": 280,
    "dtype": "float32",
    "hidden_activation": "gelu_pytorch_tanh",
    "initializer_range": 0.02,
    "max_position_embeddings": 131072,
    "model_type": "gemma4_vision",
    "num_hidden_layers": 2,
    "patch_size": 16,
    "pooling_kernel_size": 3,
    "position_embedding_size": 64,
    "rms_norm_eps": 1e-6,
    "rope_parameters": {"rope_theta": 100.0, "rope_type": "default"},
}

_SMALL_VISION: dict[str, Any] = {
    **_VISION,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "global_head_dim": 16,
    "standardize": False,
    "use_clipped_linears": True,
}

# 72 = 16 · 4.5 in the released models: a head_dim that is no power of two.
_BIG_VISION: dict[str, Any] = {
    **_VISION,
    "hidden_size": 48,
    "intermediate_size": 56,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 24,
    "global_head_dim": 24,
    "standardize": True,
    "use_clipped_linears": False,
}

_AUDIO: dict[str, Any] = {
    "attention_chunk_size": 12,
    "attention_context_left": 13,
    "attention_context_right": 0,
    "attention_invalid_logits_value": -1e9,
    "attention_logit_cap": 50.0,
    "conv_kernel_size": 5,
    "dtype": "float32",
    "gradient_clipping": 1e10,
    "hidden_act": "silu",
    "hidden_size": 32,
    "initializer_range": 0.02,
    "model_type": "gemma4_audio",
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "output_proj_dims": 40,  # neither the tower's width nor the decoder's, as on E4B
    "residual_weight": 0.5,
    "rms_norm_eps": 1e-6,
    "subsampling_conv_channels": [128, 4],  # 128 mel bins need 128 channels first
    "use_clipped_linears": True,
}

_FAMILIES: dict[str, dict[str, Any]] = {
    "e2b": {
        "text_config": {
            **_TEXT,
            "hidden_size_per_layer_input": 16,
            "intermediate_size": 64,
            "layer_types": _pattern(4, 2),
            "num_attention_heads": 2,
            "num_hidden_layers": 10,
            "num_key_value_heads": 1,
            "num_kv_shared_layers": 5,
            "sliding_window": 8,
            "use_double_wide_mlp": True,
        },
        "vision_config": _SMALL_VISION,
        "audio_config": _AUDIO,
    },
    "e4b": {
        "text_config": {
            **_TEXT,
            "hidden_size_per_layer_input": 16,
            "intermediate_size": 32,
            # Unlike the released 24 + 18 layers, the shared ones do not start after a global
            # layer: a donor guessed from its distance to the end would be the wrong one.
            "layer_types": _pattern(3, 2) + _pattern(1, 1),
            "num_attention_heads": 4,
            "num_hidden_layers": 10,
            "num_key_value_heads": 2,
            "num_kv_shared_layers": 4,
            "sliding_window": 11,
        },
        "vision_config": {**_SMALL_VISION, "num_hidden_layers": 1},
        "audio_config": {**_AUDIO, "num_hidden_layers": 1},
    },
    "26b": {
        "text_config": {
            **_TEXT,
            "attention_k_eq_v": True,
            "enable_moe_block": True,
            "intermediate_size": 96,
            "layer_types": _pattern(1, 2),
            "moe_intermediate_size": 32,
            "num_attention_heads": 4,
            "num_experts": 8,
            "num_global_key_value_heads": 1,
            "num_hidden_layers": 4,
            "num_key_value_heads": 2,
            "sliding_window": 8,
            "top_k_experts": 3,
            "use_bidirectional_attention": "vision",
        },
        "vision_config": _BIG_VISION,
        "audio_config": None,
    },
    "31b": {
        "text_config": {
            **_TEXT,
            "attention_k_eq_v": True,
            "intermediate_size": 128,
            "layer_types": _pattern(1, 2),
            "num_attention_heads": 8,
            "num_global_key_value_heads": 2,
            "num_hidden_layers": 4,
            "num_key_value_heads": 4,
            "sliding_window": 10,
            "use_bidirectional_attention": "vision",
        },
        "vision_config": _BIG_VISION,
        "audio_config": None,
    },
}

# What a larger model of the family looks like, for the comparisons made live: the released head
# sizes (256 and 512, 72 in the vision tower) and blocks of the released length.
_LARGER: dict[str, dict[str, Any]] = {
    "e2b": {
        "head_dim": 256,
        "global_head_dim": 512,
        "hidden_size": 128,
        "num_attention_heads": 4,
        "layer_types": _pattern(4, 3),
        "num_hidden_layers": 15,
        "num_kv_shared_layers": 7,
        "hidden_size_per_layer_input": 32,
        "sliding_window": 24,
    },
    "e4b": {
        "head_dim": 256,
        "global_head_dim": 512,
        "hidden_size": 128,
        "layer_types": _pattern(5, 3),
        "num_hidden_layers": 18,
        "num_kv_shared_layers": 6,
        "sliding_window": 16,
    },
    "26b": {
        "head_dim": 256,
        "global_head_dim": 512,
        "hidden_size": 128,
        "layer_types": _pattern(5, 2),
        "num_hidden_layers": 12,
        "num_experts": 16,
        "top_k_experts": 4,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "num_global_key_value_heads": 2,
        "sliding_window": 16,
    },
    "31b": {
        "head_dim": 256,
        "global_head_dim": 512,
        "hidden_size": 128,
        "layer_types": _pattern(5, 2),
        "num_hidden_layers": 12,
        "sliding_window": 20,
    },
}


def raw_config(family: str, *, larger: bool = False, **text_changes: Any) -> dict[str, Any]:
    """A parsed ``config.json`` of the family, in the style of the released files.

    ``text_changes`` replace values of its ``text_config``.
    """
    parts = copy.deepcopy(_FAMILIES[family])
    parts["text_config"].update(copy.deepcopy(_LARGER[family]) if larger else {})
    parts["text_config"].update(text_changes)
    if larger and family in BIG:
        parts["vision_config"].update(hidden_size=144, head_dim=72, global_head_dim=72)
    return {
        "architectures": ["Gemma4ForConditionalGeneration"],
        **SPECIAL_IDS,
        "dtype": "float32",
        "eos_token_id": [EOS, TURN_END],
        "initializer_range": 0.02,
        "model_type": "gemma4",
        "tie_word_embeddings": True,
        "transformers_version": "5.5.0.dev0",
        "vision_soft_tokens_per_image": 280,
        **parts,
    }


def generation_config() -> dict[str, Any]:
    """A parsed ``generation_config.json`` with the three ends of turn of the released one."""
    return {
        "bos_token_id": BOS,
        "do_sample": True,
        "eos_token_id": [EOS, TURN_END, TOOL_RESPONSE],
        "pad_token_id": PAD,
        "temperature": 1.0,
        "top_k": 64,
        "top_p": 0.95,
    }
