"""What a stage begins with: the weights of those before it, or of a checkpoint."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

import tokenizer as demo_tokenizer
from model import Model, is_ears, is_tower
from speech import WORDS
from trainer import averaged_weights


def begin_with(model: Model, folder: Path) -> None:
    """Go on from the weights of a checkpoint. The helpers' heads, which no checkpoint has, begin
    anew."""
    weights = load_file(folder / "model.safetensors")
    state = {f"gemma.{name}": tensor.float() for name, tensor in weights.items()}
    _, unexpected = model.load_state_dict(state, strict=False)
    if unexpected:
        raise SystemExit(f"{folder} is of another shape: {unexpected[0]}")
    model.gemma.tie_weights()


def take_eyes(model: Model, run: Path) -> None:
    """The vision tower and its head, as the stage of the eyes left them."""
    seen = averaged_weights(run, "eyes")
    model.load_state_dict({name: p for name, p in seen.items() if is_tower(name)}, strict=False)


def join_stages(model: Model, run: Path) -> None:
    """Ears and words into one model; the digits' embeddings point where the CTC head looks."""
    state, heard = averaged_weights(run, "words"), averaged_weights(run, "ears")
    state |= {name: p for name, p in heard.items() if is_ears(name)}
    model.load_state_dict(state, strict=False)
    embedding = model.gemma.model.language_model.embed_tokens.weight
    tokenizer = demo_tokenizer.build()
    with torch.no_grad():
        for digit, word in enumerate(WORDS):
            for text in (word, f" {word}"):
                row = embedding[tokenizer.encode(text).ids[0]]
                direction = F.normalize(model.ctc.weight[1 + digit], dim=0)
                row.copy_(0.3 * row + direction * row.norm())
