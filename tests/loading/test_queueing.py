"""With the per-layer table on flash a step is queued in pieces: the device need not wait."""

from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from gemma4_mlx import load_model
from gemma4_mlx.generation.loop import generate_tokens
from gemma4_mlx.loading.ple_rows import FlashRows
from gemma4_mlx.text.per_layer_embeddings import StepRows
from tests import goldens

PROMPT = mx.array([[2, 20, 30, 40]])


def greedy(model: Any, count: int) -> list[list[int]]:
    inputs = {"input_ids": PROMPT}
    sampler = lambda logits: mx.argmax(logits, axis=-1)  # noqa: E731
    return list(generate_tokens(model, inputs, model.make_cache(), sampler, max_tokens=count))


@pytest.mark.parametrize("family", ["e2b", "e4b"])
def test_what_needs_no_row_goes_first_and_the_first_layers_next(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    queue, step = mx.async_eval, FlashRows.step

    def watched_queue(*arrays: Any) -> None:
        events.append("queued")
        queue(*arrays)

    def watched_step(self: FlashRows, ids: mx.array) -> StepRows:
        found = step(self, ids)

        def write(known: np.ndarray) -> None:
            events.append("row written")
            assert found.write is not None
            found.write(known)

        return StepRows(found.value, write)

    monkeypatch.setattr(mx, "async_eval", watched_queue)
    monkeypatch.setattr(FlashRows, "step", watched_step)
    path = goldens.checkpoint(family)
    assert len(greedy(load_model(path, ple="flash"), 3)) == 3
    one_step = ["queued", "row written", "queued", "queued"]
    assert events == ["queued", *one_step, *one_step]  # after what the prompt gives
    events.clear()
    greedy(load_model(path, ple="memory"), 3)
    assert events == ["queued"] * 3


@pytest.mark.parametrize("family", ["e2b", "e4b"])
def test_the_same_tokens_as_from_memory(family: str) -> None:
    path = goldens.checkpoint(family)
    found = [greedy(load_model(path, dtype="float32", ple=ple), 40) for ple in ("flash", "memory")]
    assert found[0] == found[1]
