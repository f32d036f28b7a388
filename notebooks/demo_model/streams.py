"""Endless streams of what is learned from, a batch at a time.

What comes depends on nothing but the place in the training, so that resuming is exact.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import numpy as np
import torch

from author import Author, similar
from examples import Example
from processes import RANK, WORLD
from speech import Clips, Utterance, spoken, wordless


def seeded(stage: int, step: int) -> np.random.Generator:
    """Random numbers that depend on nothing but the place in the training: resuming is exact."""
    np.random.seed((stage * 1_000_003 + step * WORLD + RANK) % 2**32)
    return np.random.default_rng([stage, step, RANK])


def recordings(clips: Clips, early: bool) -> Iterator[list[Utterance]]:
    """Endless batches of about a minute and a half of sound, each of similar lengths."""
    budget = 90.0 / WORLD
    pool = 0
    while True:
        rng = seeded(1, pool)
        pool += 1
        heard = []
        for _ in range(96):
            kind = rng.random()
            low, high = (1, 4) if early else (7, 30) if kind > 0.95 else (1, 7)
            if kind < 0.02 and not early:
                heard.append(wordless(rng, rng.uniform(0.3, 8)))
            else:
                heard.append(spoken(clips, rng, int(rng.integers(low, high)), augment=True))
        batches = similar(heard, budget, lambda utterance: utterance.seconds)
        for i in rng.permutation(len(batches)):
            yield batches[i]


def drop_bands(mel: torch.Tensor) -> None:
    """A band of the spectrum goes missing now and then (SpecAugment); `mel` (B, frames, bins) is
    changed in place."""
    for row in mel:
        if np.random.random() < 0.3:
            width = np.random.randint(1, 9)
            start = np.random.randint(0, mel.shape[2] - width)
            row[:, start : start + width] = row.mean()


def drawn(
    clips: Clips, start: int, stream: int, draw: Callable[[Author], list[Example]]
) -> Iterator[list[Example]]:
    """Endless examples of one kind."""
    for step in itertools.count(start):
        yield draw(Author(clips, seeded(stream, step)))


def transcriptions(clips: Clips, start: int) -> Iterator[list[Example]]:
    """Endless batches of recordings to transcribe: short ones and ones of up to 30 s."""
    pool = start
    while True:
        rng = seeded(4, pool)
        author = Author(clips, rng)
        batches = [b for size in ("short", "medium", "long") for b in author.digits(size)]
        for i in rng.permutation(len(batches)):
            yield batches[i]
        pool += 1
