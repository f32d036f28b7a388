"""A model that hears what it is told to, and a detector that takes all sound for speech."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from gemma4_mlx.processing.tokenizer import Tokenizer
from gemma4_mlx.speech import listening, windows

RATE = 16_000


def noise(seconds: float, rate: int = RATE) -> np.ndarray:
    """Samples (n,) that ``loud`` takes for speech."""
    return np.random.default_rng(1).normal(0, 0.1, int(seconds * rate)).astype(np.float32)


def loud() -> Callable[[np.ndarray], float]:
    """Stands for Silero's detector."""
    return lambda frame: float(np.abs(frame).max() > 0.02)


def hear(
    monkeypatch: pytest.MonkeyPatch, tokenizer: Tokenizer, replies: Iterator[str]
) -> list[list[int]]:
    """The replies to come, one a window in the order they are asked; returns the sizes of batches.

    A reply without an end ends with "…".
    """
    batches: list[list[int]] = []
    end = tokenizer.token_id("<turn|>")

    def rows(
        _model: Any,
        prompts: Sequence[Any],
        _sampler: Any,
        *,
        limits: Sequence[int],
        stops: Sequence[Callable[[list[int]], bool]],
    ) -> list[list[int]]:
        batches.append([prompt["input_ids"].shape[1] for prompt in prompts])
        said = []
        for limit, stop in zip(limits, stops, strict=True):
            reply = next(replies)
            ids = tokenizer.encode(reply.removesuffix("…"))
            ids += [] if reply.endswith("…") else [end]
            ended = (n for n in range(1, len(ids)) if stop(ids[:n]))
            said.append(ids[: min(limit, next(ended, len(ids)))])
        return said

    monkeypatch.setattr(listening, "generate_rows", rows)
    monkeypatch.setattr(windows, "silero", loud)
    return batches
