"""A tokenizer and config of Gemma 4's make in a few hundred tokens, built here and now."""

import json
from pathlib import Path
from typing import Any

from gemma4_mlx.config import Gemma4Config
from gemma4_mlx.processing.processor import Processor

TEMPLATES = Path(__file__).resolve().parents[2] / "gemma4_mlx" / "processing" / "templates"

CONTROL = (
    *("<pad>", "<eos>", "<bos>", "<unk>", "<mask>"),
    *("<|tool>", "<tool|>", "<|tool_call>", "<tool_call|>", "<|tool_response>", "<tool_response|>"),
    *('<|"|>', "<|think|>", "<|channel>", "<channel|>", "<|turn>", "<turn|>"),
    *("<|image>", "<|audio>", "<|image|>", "<|audio|>", "<image|>", "<audio|>", "<|video|>"),
)
# Some of them join pieces of control tokens: the marks must be gone before the text is encoded.
MERGES = (
    *("< |", "| >", "t u", "tu r", "tur n", "u s", "us e", "use r", "m o", "mo d", "e l"),
    *("mod el", "t h", "th e", "▁ the", "▁ ▁", "\n \n", "a n", "an n", "e r", "i m", "0 0"),
)
TOKEN_NAMES = {
    "bos_token": "<bos>",
    "eos_token": "<eos>",
    "pad_token": "<pad>",
    "unk_token": "<unk>",
    "mask_token": "<mask>",
    "image_token": "<|image|>",
    "boi_token": "<|image>",
    "eoi_token": "<image|>",
    "audio_token": "<|audio|>",
    "boa_token": "<|audio>",
    "eoa_token": "<audio|>",
    "sot_token": "<|turn>",
    "eot_token": "<turn|>",
    "soc_token": "<|channel>",
    "eoc_token": "<channel|>",
    "std_token": "<|tool>",
    "etd_token": "<tool|>",
    "stc_token": "<|tool_call>",
    "etc_token": "<tool_call|>",
    "str_token": "<|tool_response>",
    "etr_token": "<tool_response|>",
    "escape_token": '<|"|>',
    "think_token": "<|think|>",
}


def tokenizer_json(
    not_special: tuple[str, ...] = (), ignore_merges: bool = False
) -> dict[str, Any]:
    """A parsed tokenizer.json; ``not_special`` control tokens lack the flag."""
    pieces = [*CONTROL, *(f"<0x{byte:02X}>" for byte in range(256)), "\n", "▁"]
    pieces += [chr(code) for code in range(33, 127)]
    pieces += [merge.replace(" ", "") for merge in MERGES]
    vocab = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": vocab[token], "content": token, **plain, "special": token not in not_special}
            for token in CONTROL
        ],
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        "pre_tokenizer": {
            "type": "Split",
            "pattern": {"String": " "},
            "behavior": "MergedWithPrevious",
            "invert": False,
        },
        "post_processor": None,
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
            ],
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<unk>",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": ignore_merges,
            "vocab": vocab,
            "merges": [merge.split(" ") for merge in MERGES],
        },
    }


def config_dict(*, big: bool = False, vision: bool = True, audio: bool = True) -> dict[str, Any]:
    """A parsed config.json of a few layers, its ids those of ``tokenizer_json``."""
    ids = {token: index for index, token in enumerate(CONTROL)}
    text = {
        "model_type": "gemma4_text",
        "vocab_size": 512,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 32,
        "global_head_dim": 64,
        "sliding_window": 64,
        "layer_types": ["sliding_attention", "full_attention"],
        "rope_parameters": {
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
            "full_attention": {
                "rope_type": "proportional",
                "rope_theta": 1000000.0,
                "partial_rotary_factor": 0.25,
            },
        },
        "max_position_embeddings": 8192,
        "use_bidirectional_attention": "vision" if big else None,
        "eos_token_id": ids["<eos>"],
    }
    vision_config = {
        "hidden_size": 48,
        "intermediate_size": 96,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 24,
        "rope_parameters": {"rope_type": "default", "rope_theta": 100.0},
        "patch_size": 16,
        "pooling_kernel_size": 3,
        "position_embedding_size": 256,
    }
    audio_config = {
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "subsampling_conv_channels": [128, 4],  # the first equals the mel bins
        "conv_kernel_size": 5,
        "residual_weight": 0.5,
        "attention_chunk_size": 12,
        "attention_context_left": 13,
        "attention_context_right": 0,
        "attention_logit_cap": 50.0,
        "attention_invalid_logits_value": -1e9,
        "gradient_clipping": 1e10,
        "output_proj_dims": 32,
    }
    return {
        "model_type": "gemma4",
        "text_config": text,
        "vision_config": vision_config if vision else None,
        "audio_config": audio_config if audio else None,
        "image_token_id": ids["<|image|>"],
        "video_token_id": ids["<|video|>"],
        "audio_token_id": ids["<|audio|>"],
        "boi_token_id": ids["<|image>"],
        "eoi_token_id": ids["<image|>"],
        "boa_token_id": ids["<|audio>"],
        "eoa_token_id": ids["<audio|>"],
        "eos_token_id": [ids["<eos>"], ids["<turn|>"]],
    }


def processor_dict(**feature_extractor: Any) -> dict[str, Any]:
    """A parsed processor_config.json as the released models have it."""
    picture = {"patch_size": 16, "pooling_kernel_size": 3, "resample": 3, "rescale_factor": 1 / 255}
    return {
        "audio_ms_per_token": 40,
        "audio_seq_length": 750,
        "feature_extractor": {"feature_size": 128, "sampling_rate": 16000, **feature_extractor},
        "image_processor": {"max_soft_tokens": 280, "do_normalize": False, **picture},
        "video_processor": {
            "max_soft_tokens": 70,
            "num_frames": 32,
            "do_normalize": True,
            **picture,
        },
    }


def write_checkpoint(folder: Path, *, big: bool = False, template: str | None = None) -> Path:
    """The files a processor reads, and none of a model's weights."""
    template = template or (TEMPLATES / ("big.jinja" if big else "small.jinja")).read_text()
    tokenizer_config = {
        **TOKEN_NAMES,
        "tokenizer_class": "GemmaTokenizer",
        "padding_side": "left",
        "extra_special_tokens": ["<|video|>"],
    }
    for name, content in (
        ("tokenizer.json", tokenizer_json()),
        ("tokenizer_config.json", tokenizer_config),
        ("processor_config.json", processor_dict()),
        ("config.json", config_dict(big=big)),
    ):
        (folder / name).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    return folder


def make_processor(folder: Path, **config: bool) -> Processor:
    """A processor over a checkpoint written into ``folder``."""
    write_checkpoint(folder, big=config.get("big", False))
    return Processor.from_dir(folder, Gemma4Config.from_dict(config_dict(**config)))
