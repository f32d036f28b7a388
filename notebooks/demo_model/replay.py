"""Batches met lately, to be used again while the towers are frozen."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from collator import Batch
from model import Model


class Replay:
    """Batches met lately, with what the towers made of them. While the towers are frozen each is
    used several times: they cost more than the decoder that learns to read them."""

    def __init__(self, model: Model, batches: Iterator[Batch]) -> None:
        self.model, self.batches = model, batches
        self.kept: list[Batch] = []

    def draw(self, rng: np.random.Generator) -> Batch:
        if len(self.kept) >= 16 and rng.random() < 0.75:
            return self.kept[rng.integers(len(self.kept))]
        batch = next(self.batches)
        inputs = batch.inputs
        with torch.no_grad():
            if "input_features" in inputs:
                batch.heard, _ = self.model.hear(
                    inputs["input_features"], inputs["input_features_mask"]
                )
            if "pixel_values" in inputs:
                batch.seen = self.model.see(inputs["pixel_values"], inputs["image_position_ids"])
        if len(self.kept) == 64:
            self.kept.pop(int(rng.integers(64)))
        self.kept.append(batch)
        return batch
