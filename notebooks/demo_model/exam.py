"""What the model is examined on: recordings and pictures it was not trained on, and its questions.

The questions are, of course, those it was trained on. A seed always gives the same examination.
"""

from __future__ import annotations

import numpy as np

import prompts
from examples import Example, user_turn
from scenes import draw_scene
from speech import Clips, Utterance, sparse, spoken, wordless


def heard_as(utterance: Utterance, prompt: str = prompts.TRANSCRIBE_ENGLISH) -> Example:
    """A recording under the app's prompt."""
    messages = [{"role": "user", "content": user_turn("audio", prompt)}]
    return Example(messages, utterance.text, audio=(utterance,))


def short_sequences(clips: Clips, count: int, seed: int) -> list[Example]:
    """One to six digits, as they would be recorded: several levels and pauses, one background."""
    rng = np.random.default_rng([seed, 1])
    drawn = [spoken(clips, rng, int(rng.integers(1, 7)), augment=False) for _ in range(count)]
    return [heard_as(u) for u in sorted(drawn, key=lambda u: u.seconds)]


def long_sequences(clips: Clips, count: int, seed: int) -> list[Example]:
    """Windows of up to 30 s: 7 to 60 digits, and now and then a few in a long silence."""
    rng = np.random.default_rng([seed, 2])
    drawn = []
    for i in range(count):
        seconds = rng.uniform(10, 29.9)
        if i % 6 == 5:
            drawn.append(sparse(clips, rng, int(rng.integers(2, 7)), seconds, augment=False))
        else:
            many = int(rng.integers(7, 61))
            drawn.append(spoken(clips, rng, many, augment=False, seconds=seconds))
    return [heard_as(u) for u in sorted(drawn, key=lambda u: u.seconds)]


def full_windows(clips: Clips, count: int, seed: int, manner: str) -> list[Example]:
    """Windows of 30 s as full of words as the pauses of this manner of speaking allow."""
    rng = np.random.default_rng([seed, 5])
    return [
        heard_as(spoken(clips, rng, 62, augment=False, seconds=29.9, manner=manner))
        for _ in range(count)
    ]


def silences(count: int, seed: int) -> list[Example]:
    rng = np.random.default_rng([seed, 3])
    return [heard_as(wordless(rng, rng.uniform(0.5, 10))) for _ in range(count)]


def pictures(count: int, seed: int) -> list[Example]:
    rng = np.random.default_rng([seed, 4])
    examples = []
    for i in range(count):
        scene = draw_scene(rng, 1 + i % 3)
        messages = [
            {"role": "user", "content": user_turn("image", prompts.LOOK[i % len(prompts.LOOK)])}
        ]
        examples.append(Example(messages, scene.text, images=(scene,)))
    return examples


def questions(*, wordings: int | None = None) -> list[Example]:
    """Every question of the set, in its first `wordings` wordings, and the unknown ones."""
    known = prompts.read_questions()
    return [
        Example([{"role": "user", "content": ask}], question.answer)
        for question in (*known.questions, known.unknown)
        for ask in question.ask[:wordings]
    ]
