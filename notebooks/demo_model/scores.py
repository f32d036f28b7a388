"""How right replies are: word error rate, and the share that is right to the letter."""

from __future__ import annotations

from collections.abc import Sequence

from examples import Example


def edits(said: Sequence[str], heard: Sequence[str]) -> int:
    """Levenshtein distance in words."""
    row = list(range(len(said) + 1))
    for word in heard:
        corner, row[0] = row[0], row[0] + 1
        for i, other in enumerate(said):
            corner, row[i + 1] = (
                row[i + 1],
                min(row[i + 1] + 1, row[i] + 1, corner + (word != other)),
            )
    return row[-1]


def word_error_rate(examples: Sequence[Example], replies: Sequence[str]) -> float:
    """All errors over all spoken words; what was said to silence counts as errors too."""
    pairs = [(example.answer.split(), reply.split()) for example, reply in zip(examples, replies)]
    return sum(edits(*pair) for pair in pairs) / max(1, sum(len(said) for said, _ in pairs))


def share_right(examples: Sequence[Example], replies: Sequence[str]) -> float:
    return sum(e.answer == reply for e, reply in zip(examples, replies)) / len(examples)
