"""Replies that went wrong somewhere, as material to learn from.

A model that has only ever continued flawless transcripts does not know what to do after its own
first mistake, and one wrong word becomes twenty. So now and then what stands before the next word
is not what was said: a wrong word, a word twice, or one left out. What is wanted stays true to the
recording: the word that comes next in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Half of the transcripts are flawless; in the others a word goes wrong with up to this chance.
MOST = 0.1


@dataclass(frozen=True)
class Reply:
    """Token ids as they were written and as they should be, position by position, and of each
    position but the last, which ends the turn, which word of the right reply is due there."""

    written: list[int]
    wanted: list[int]
    words: list[int]


def flawless(reply: Sequence[int]) -> Reply:
    return Reply(list(reply), list(reply), list(range(len(reply) - 1)))


def slipped(reply: Sequence[int], rng: np.random.Generator) -> Reply:
    """A transcript of one token a word, with mistakes."""
    if rng.random() < 0.5:
        return flawless(reply)
    chance = rng.uniform(0, MOST)
    *spoken, end = reply
    written: list[int] = []
    words: list[int] = []
    word = 0
    while word < len(spoken):
        words.append(word)
        kind = rng.random() / chance
        if kind < 0.25 and written:  # the last word once more; this one is still to come
            written.append(written[-1])
        elif kind < 0.5 and word + 1 < len(spoken):  # this one left out
            written.append(spoken[word + 1])
            word += 2
        elif kind < 1:
            written.append(int(rng.choice(spoken)))
            word += 1
        else:
            written.append(spoken[word])
            word += 1
    return Reply([*written, end], [*(spoken[word] for word in words), end], words)
