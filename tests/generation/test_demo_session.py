"""A conversation with the demo model, whose per-layer embeddings come from the table on disk."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from gemma4_mlx import ChatSession, load_model, stream_generate
from gemma4_mlx.loading import find_checkpoint
from gemma4_mlx.processing.processor import Processor

PICTURE = np.array(Image.new("RGB", (64, 64), "red"))
SOUND = np.random.default_rng(1).normal(0, 0.05, 12_000).astype(np.float32)


@pytest.fixture(scope="module")
def demo() -> tuple[Any, Any]:
    """In float32: the same prompt read in one piece or in several then gives the same tokens."""
    model = load_model("demo", dtype="float32")
    return model, Processor.from_dir(find_checkpoint("demo"), model.config)


@pytest.mark.parametrize("thinking", [False, True])
def test_a_conversation_equals_its_prompts_read_at_once(demo: Any, thinking: bool) -> None:
    session = ChatSession(*demo, temperature=0.0, max_tokens=12, enable_thinking=thinking)
    turns: list[Any] = [
        [{"type": "audio", "audio": SOUND}, {"type": "text", "text": "What is said?"}],
        "What is the capital of France?",
        [{"type": "image", "image": PICTURE}, {"type": "text", "text": "What is this?"}],
        "And the sound?",
    ]
    for content in turns:
        ids = [token for chunk in session.send(content) for token in chunk.token_ids]
        fresh = stream_generate(
            *demo,
            session.messages[:-1],
            temperature=0.0,
            max_tokens=12,
            enable_thinking=thinking,
        )
        assert ids == [token for chunk in fresh for token in chunk.token_ids]
    assert session.prefilled_tokens < 60
