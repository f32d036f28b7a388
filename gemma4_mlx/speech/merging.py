"""Joining the texts of two windows that share some seconds of speech.

Both have the words of the shared part, one of them with its last word cut off, the other with its
first, and either may have misheard one. So the end of the first is aligned with the beginning of
the second, as two overlapping pieces of a sequence are (Needleman and Wunsch, 1970, with free
ends), and the text changes over at a word in the middle on which both agree. Of several alignments
as good, as "one one one one" has, the one counts that fits the length of the shared part.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from gemma4_mlx.speech.subtitles import unspaced

_MATCH, _MISMATCH, _GAP = 2.0, -1.0, -1.0
_CUT = -0.25  # for a word at the edge that has no equal: it was cut in two
# Taken off for every word more or less than the shared part should have: more than a match brings.
_UNLIKELY = 2.2
_MARGIN = 4  # words looked at beyond those expected, and twice as many as those


@dataclass(frozen=True)
class Merged:
    """What of each text stays. ``agreed`` is False when no words were found in both."""

    left: str
    right: str
    agreed: bool


def merge(left: str, right: str, left_share: float, right_share: float) -> Merged:
    """The texts of two neighbours without what both have.

    ``left_share`` of the first window's sound is at the beginning of the second's, and is
    ``right_share`` of that.
    """
    left_words, right_words = _words(left), _words(right)
    if not left_words or not right_words:
        return Merged(left, right, agreed=True)
    expected = len(left_words) * left_share, len(right_words) * right_share
    tail = left_words[-_looked_at(expected[0]) :]
    head = right_words[: _looked_at(expected[1])]
    pair = _changeover(
        [_plain(left[begin:end]) for begin, end in tail],
        [_plain(right[begin:end]) for begin, end in head],
        expected,
    )
    if pair is None:
        # The middle of the shared part, as far as words come at one pace.
        stay = len(left_words) - round(expected[0] / 2)
        skip = round(expected[1] / 2)
        return Merged(_until(left, left_words, stay), _from(right, right_words, skip), agreed=False)
    stay = len(left_words) - len(tail) + pair[0] + 1
    return Merged(
        _until(left, left_words, stay), _from(right, right_words, pair[1] + 1), agreed=True
    )


def _changeover(
    tail: list[str], head: list[str], expected: tuple[float, float]
) -> tuple[int, int] | None:
    """The places in both of a word to change over at; None when they have nothing in common."""
    rows, columns = len(tail) + 1, len(head) + 1
    # score[i][j]: the best alignment of the end of tail[:i] with head[:j]; its start in tail is
    # free, and the way back tells which words meet.
    score = [[0.0] * columns for _ in range(rows)]
    step = [[(0, 0)] * columns for _ in range(rows)]
    for i in range(rows):
        for j in range(1, columns):
            last, first = i == len(tail), j == 1
            ways = [(score[i][j - 1] + (_CUT if first else _GAP), (0, 1))]
            if i:
                unlike = _CUT if last or first else _MISMATCH
                same = _MATCH if tail[i - 1] == head[j - 1] else unlike
                ways += [
                    (score[i - 1][j - 1] + same, (1, 1)),
                    (score[i - 1][j] + (_CUT if last else _GAP), (1, 0)),
                ]
            score[i][j], step[i][j] = max(ways)
    best: tuple[float, list[tuple[int, int]]] = (0.0, [])
    for end in range(1, columns):
        i, j, met = len(tail), end, []
        while j:
            back = step[i][j]
            if back == (1, 1) and tail[i - 1] == head[j - 1]:
                met.append((i - 1, j - 1))
            i, j = i - back[0], j - back[1]
        off = abs(len(tail) - i - expected[0]) + abs(end - expected[1])
        worth = score[len(tail)][end] - _UNLIKELY * off / 2
        if worth > best[0]:
            best = worth, met[::-1]
    met = best[1]
    return met[len(met) // 2] if met else None


def _looked_at(expected: float) -> int:
    return int(2 * expected) + _MARGIN


def _plain(word: str) -> str:
    """A word without its punctuation and case."""
    letters = "".join(c for c in word.casefold() if unicodedata.category(c)[0] in "LMNS")
    return letters or word


def _words(text: str) -> list[tuple[int, int]]:
    """Where each word begins and ends; in scripts without spaces each character is one."""
    words: list[tuple[int, int]] = []
    inside = False  # of a word that may go on
    for place, character in enumerate(text):
        alone = unspaced(character)
        if character.isspace():
            inside = False
        elif inside and not alone:
            words[-1] = (words[-1][0], place + 1)
        else:
            words.append((place, place + 1))
            inside = not alone
    return words


def _until(text: str, words: Sequence[tuple[int, int]], count: int) -> str:
    return text[: words[count - 1][1]] if count > 0 else ""


def _from(text: str, words: Sequence[tuple[int, int]], count: int) -> str:
    return text[words[count][0] :] if count < len(words) else ""
