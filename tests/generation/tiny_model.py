"""Tiny random models with the tiny tokenizer: small family (no per-layer table) and big."""

from functools import cache
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.utils

from gemma4_mlx.config import Gemma4Config
from gemma4_mlx.generation_config import GenerationConfig
from gemma4_mlx.model import Gemma4Model
from gemma4_mlx.processing.processor import Processor
from gemma4_mlx.processing.tokenizer import Tokenizer
from tests.reference.families import raw_config


@cache
def tiny_model(family: str, tokenizer: Tokenizer, **text: Any) -> tuple[Gemma4Model, Processor]:
    """A model and processor of the family ("e2b", "31b"); ``text`` changes its text config."""
    raw = raw_config(
        family,
        vocab_size=tokenizer.vocab_size,
        vocab_size_per_layer_input=tokenizer.vocab_size,
        hidden_size_per_layer_input=0,
        **{"max_position_embeddings": 4096, **text},
    )
    marks = {"boi": "<|image>", "eoi": "<image|>", "boa": "<|audio>", "eoa": "<audio|>"}
    marks |= {"image": "<|image|>", "audio": "<|audio|>", "video": "<|video|>"}
    raw |= {f"{name}_token_id": tokenizer.token_id(mark) for name, mark in marks.items()}
    raw["eoa_token_index"] = raw["eoa_token_id"]
    config = Gemma4Config.from_dict(raw)
    ends = tuple(map(tokenizer.token_id, ("<eos>", "<turn|>", "<|tool_response>")))
    model = Gemma4Model(config, GenerationConfig(eos_token_ids=ends))
    keys = iter(mx.random.split(mx.random.key(7), 2000))
    model.update(
        mlx.utils.tree_map(
            lambda a: mx.random.normal(a.shape, key=next(keys)) * 0.3 if a.ndim > 1 else a,
            model.parameters(),
        )
    )
    model.eval()
    return model, Processor(tokenizer, config)


class Script:
    """A sampler that says what it is told, whatever the logits; then ``<turn|>`` for ever."""

    def __init__(self, tokenizer: Tokenizer, reply: str, end: str = "<turn|>"):
        self.ids = tokenizer.encode(reply)
        self.end = tokenizer.token_id(end)
        self.steps = 0
        self.logits: list[mx.array] = []

    def __call__(self, logits: mx.array) -> mx.array:
        self.logits.append(logits)
        token = self.ids[self.steps] if self.steps < len(self.ids) else self.end
        self.steps += 1
        return mx.array([token])


def picture(path: Path, colour: str = "red", size: tuple[int, int] = (64, 48)) -> str:
    from PIL import Image

    Image.new("RGB", size, colour).save(path)
    return str(path)
