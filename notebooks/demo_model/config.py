"""The demo model's shape: Gemma 4 E2B in small, written as the released config.json is.

Every key of the release is set, because the defaults of transformers' config classes match no
release. All widths that are inputs of a linear layer are multiples of 32, so that they can be
quantized. Token ids come from the tokenizer.
"""

from __future__ import annotations

from typing import Any

HIDDEN = 128
LAYERS = 15
PER_LAYER = 32
MEL_BINS = 64
IMAGE_TOKENS = 70

TEXT: dict[str, Any] = {
    "attention_bias": False,
    "attention_dropout": 0.0,
    "attention_k_eq_v": False,
    "bos_token_id": 2,
    "dtype": "bfloat16",
    "enable_moe_block": False,
    "eos_token_id": 1,
    "expert_intermediate_size": None,
    "final_logit_softcapping": 30.0,
    "global_head_dim": 64,
    "head_dim": 32,
    "hidden_activation": "gelu_pytorch_tanh",
    "hidden_size": HIDDEN,
    "hidden_size_per_layer_input": PER_LAYER,
    "initializer_range": 0.02,
    "intermediate_size": 192,
    "layer_types": (["sliding_attention"] * 4 + ["full_attention"]) * (LAYERS // 5),
    "max_position_embeddings": 8192,
    "model_type": "gemma4_text",
    "num_attention_heads": 4,
    "num_experts": None,
    "num_global_key_value_heads": None,
    "num_hidden_layers": LAYERS,
    "num_key_value_heads": 1,
    "num_kv_shared_layers": 5,
    "pad_token_id": 0,
    "rms_norm_eps": 1e-06,
    "rope_parameters": {
        "full_attention": {
            "partial_rotary_factor": 0.25,
            "rope_theta": 1000000.0,
            "rope_type": "proportional",
        },
        "sliding_attention": {"rope_theta": 10000.0, "rope_type": "default"},
    },
    "sliding_window": 128,
    "tie_word_embeddings": True,
    "top_k_experts": None,
    "use_bidirectional_attention": None,
    "use_cache": True,
    "use_double_wide_mlp": True,
}

VISION: dict[str, Any] = {
    "attention_bias": False,
    "attention_dropout": 0.0,
    "default_output_length": IMAGE_TOKENS,
    "dtype": "bfloat16",
    "global_head_dim": 16,
    "head_dim": 16,
    "hidden_activation": "gelu_pytorch_tanh",
    "hidden_size": 64,
    "initializer_range": 0.02,
    "intermediate_size": 192,
    "max_position_embeddings": 8192,
    "model_type": "gemma4_vision",
    "num_attention_heads": 4,
    "num_hidden_layers": 3,
    "num_key_value_heads": 4,
    "patch_size": 16,
    "pooling_kernel_size": 3,
    "position_embedding_size": 512,
    "rms_norm_eps": 1e-06,
    "rope_parameters": {"rope_theta": 100.0, "rope_type": "default"},
    "standardize": False,
    "use_clipped_linears": True,
}

AUDIO: dict[str, Any] = {
    "attention_chunk_size": 12,
    "attention_context_left": 13,
    "attention_context_right": 0,
    "attention_invalid_logits_value": -1000000000.0,
    "attention_logit_cap": 50.0,
    "conv_kernel_size": 5,
    "dtype": "bfloat16",
    "gradient_clipping": 10000000000.0,
    "hidden_act": "silu",
    "hidden_size": HIDDEN,
    "initializer_range": 0.02,
    "model_type": "gemma4_audio",
    "num_attention_heads": 4,
    "num_hidden_layers": 4,
    "output_proj_dims": HIDDEN,
    "residual_weight": 0.5,
    "rms_norm_eps": 1e-06,
    # The projection behind the two convolutions expects as many mel bins as the first has channels.
    "subsampling_conv_channels": [MEL_BINS, 16],
    "use_clipped_linears": True,
}


def model_config(vocab_size: int, ids: dict[str, int]) -> dict[str, Any]:
    """config.json, released style. `ids` maps control tokens to their ids."""
    return {
        "architectures": ["Gemma4ForConditionalGeneration"],
        "audio_config": AUDIO,
        "audio_token_id": ids["<|audio|>"],
        "boa_token_id": ids["<|audio>"],
        "boi_token_id": ids["<|image>"],
        "dtype": "bfloat16",
        "eoa_token_id": ids["<audio|>"],
        "eoa_token_index": ids["<audio|>"],
        "eoi_token_id": ids["<image|>"],
        "eos_token_id": [ids["<eos>"], ids["<turn|>"]],
        "image_token_id": ids["<|image|>"],
        "initializer_range": 0.02,
        "model_type": "gemma4",
        "text_config": TEXT | {"vocab_size": vocab_size, "vocab_size_per_layer_input": vocab_size},
        "tie_word_embeddings": True,
        "transformers_version": "5.23.0",
        "video_token_id": ids["<|video|>"],
        "vision_config": VISION,
        "vision_soft_tokens_per_image": IMAGE_TOKENS,
    }


def generation_config(ids: dict[str, int]) -> dict[str, Any]:
    """generation_config.json; the end of a tool call is an end of turn only here, as in Gemma 4.

    Greedy by default, unlike the release: so small a model wanders when it is sampled from.
    """
    return {
        "bos_token_id": ids["<bos>"],
        "do_sample": False,
        "eos_token_id": [ids["<eos>"], ids["<turn|>"], ids["<|tool_response>"]],
        "pad_token_id": ids["<pad>"],
        "temperature": 1.0,
        "top_k": 64,
        "top_p": 0.95,
        "transformers_version": "5.23.0",
    }
