"""Building the model, and writing it as a Hugging Face checkpoint.

`format/` holds the files that are the release's own (the chat template and tokenizer_config.json,
verbatim) and processor_config.json, which differs from it in the mel bins and the image budget.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import nn
from transformers import Gemma4Config, Gemma4ForConditionalGeneration

import config
import tokenizer as demo_tokenizer

FORMAT = Path(__file__).with_name("format")


def new_model(tokenizer: Tokenizer) -> Gemma4ForConditionalGeneration:
    """A model in float32 with weights drawn for its small widths, its clip bounds open.

    transformers draws every matrix with a deviation of 0.02, which suits widths in the thousands;
    at 128 the layers then hardly talk to each other.
    """
    ids = demo_tokenizer.control_ids(tokenizer)
    settings = Gemma4Config(**config.model_config(tokenizer.get_vocab_size(), ids))
    model = Gemma4ForConditionalGeneration(settings).float()
    for module in model.model.modules():
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d):
            nn.init.normal_(module.weight, std=module.weight[0].numel() ** -0.5)
    nn.init.normal_(model.model.language_model.embed_tokens.weight, std=0.06)
    nn.init.normal_(model.model.vision_tower.patch_embedder.position_embedding_table, std=0.05)
    return model


def save(model: Gemma4ForConditionalGeneration, tokenizer: Tokenizer, out: Path) -> None:
    """Write the checkpoint beside `out` and move it there when it is whole."""
    temporary = out.with_name(out.name + ".part")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    weights = {
        name: tensor.detach().to(torch.bfloat16).contiguous()
        for name, tensor in model.state_dict().items()
        if name != "lm_head.weight"  # tied to the embeddings
    }
    save_file(weights, temporary / "model.safetensors", metadata={"format": "pt"})
    ids = demo_tokenizer.control_ids(tokenizer)
    for name, content in (
        ("config.json", config.model_config(tokenizer.get_vocab_size(), ids)),
        ("generation_config.json", config.generation_config(ids)),
    ):
        (temporary / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    tokenizer.save(str(temporary / "tokenizer.json"))
    for path in FORMAT.iterdir():
        shutil.copyfile(path, temporary / path.name)
    (temporary / "model.safetensors").chmod(0o644)
    shutil.rmtree(out, ignore_errors=True)
    temporary.rename(out)
