"""Subtitles: the segments of a transcript as SubRip (.srt) and WebVTT (.vtt).

A segment is a cue, and its start and end are heard: it lies between two pauses. Where lines are
limited, a long segment becomes several cues. The times between these are an estimate, by how many
characters each has, because the model does not tell when it hears a word.

Lines break at spaces, and between any two characters of a script that is written without spaces,
but not before closing punctuation nor within a letter and its marks. This is the part of Unicode's
line breaking (UAX 14) that needs no dictionary: Thai may break within a word.

Sources: https://www.w3.org/TR/webvtt1/ for WebVTT. SubRip has no standard and knows no escapes.
"""

import html
import re
import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from gemma4_mlx.errors import InputError
from gemma4_mlx.generation.arguments import whole_number

if TYPE_CHECKING:
    from gemma4_mlx.speech.transcript import Segment

_NARROWEST = 4  # columns: two wide characters

# Thai and Lao; Burmese; Khmer; Chinese and Japanese, with their punctuation and full-width forms,
# but without the Korean letters among these: Korean has spaces.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
    "\u3000-\u312f\u3190-\u9fff\uf900-\ufaff\uff01-\uff9f\U00020000-\U0003ffff]"
)

# Beside closing brackets and quotes: stops, repetition marks, small kana, Thai and Lao vowels that
# follow their consonant; and the vowels that stand before it.
_NOT_FIRST = frozenset(
    "、。，．,.！？!?：；:;…‥・％%〜～ー々ゝゞヽヾぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮヵヶ"
    "ฯะาำๅๆຯະາຳໆ"
)
_NOT_LAST = frozenset("เแโใไເແໂໃໄ")
# Join the next letter to the one before: zero width joiner, Khmer coeng, Burmese virama.
_JOINERS = frozenset("\u200d\u17d2\u1039")


@dataclass(frozen=True)
class _Cue:
    start: int  # milliseconds
    end: int
    text: str


def to_srt(
    segments: Iterable["Segment"],
    max_line_width: int | None = None,
    max_line_count: int | None = None,
) -> str:
    """SubRip. Without limits a segment is one cue of one line.

    ``max_line_width`` is in columns, of which a wide East Asian character takes two.
    ``max_line_count`` lines are in a cue at most: of a segment that needs more, several cues are
    made, at estimated times. Raises InputError for limits that are none.
    """
    return "".join(
        # An arrow would be taken for times, and cannot be escaped.
        f"{number}\n{_times(cue, ',')}\n{re.sub('--+>', '->', cue.text)}\n\n"
        for number, cue in enumerate(_cues(segments, max_line_width, max_line_count), start=1)
    )


def to_vtt(
    segments: Iterable["Segment"],
    max_line_width: int | None = None,
    max_line_count: int | None = None,
) -> str:
    """WebVTT; the same limits as in ``to_srt``."""
    return "WEBVTT\n\n" + "".join(
        f"{_times(cue, '.')}\n{html.escape(cue.text, quote=False)}\n\n"
        for cue in _cues(segments, max_line_width, max_line_count)
    )


def unspaced(character: str) -> bool:
    """Whether it is of a script that is written without spaces between words."""
    return _UNSPACED.match(character) is not None


# --- cues ----------------------------------------------------------------------------------------


def _cues(
    segments: Iterable["Segment"], max_line_width: int | None, max_line_count: int | None
) -> list[_Cue]:
    if max_line_width is not None:
        max_line_width = whole_number("max_line_width", max_line_width, _NARROWEST)
    if max_line_count is not None:
        max_line_count = whole_number("max_line_count", max_line_count, 1)
        if max_line_width is None:
            raise InputError(
                f"max_line_count is {max_line_count} and max_line_width is not set, expected "
                "both: how many lines a text takes depends on their width"
            )
    cues = [
        cue
        for segment in segments
        if (text := " ".join(segment.written.split()))  # an empty line would end the cue
        for cue in _shared_out(segment, _lines(text, max_line_width), max_line_count)
    ]
    return list(_one_after_another(cues))


def _shared_out(segment: "Segment", lines: list[str], max_line_count: int | None) -> Iterator[_Cue]:
    """As few cues as hold the lines, with about as many lines each."""
    start, end = round(segment.start * 1000), round(segment.end * 1000)
    count = -(-len(lines) // (max_line_count or len(lines)))
    before = list(accumulate(map(len, lines), initial=0))  # characters before each line
    for first, last in pairwise(len(lines) * number // count for number in range(count + 1)):
        begin, stop = (start + (end - start) * before[line] // before[-1] for line in (first, last))
        yield _Cue(begin, stop, "\n".join(lines[first:last]))


def _one_after_another(cues: list[_Cue]) -> Iterator[_Cue]:
    """Each begins after the one before and ends, a millisecond later at least, before the next."""
    starts: list[int] = []
    for cue in cues:
        starts.append(max(cue.start, starts[-1] + 1 if starts else 0))
    for number, (start, cue) in enumerate(zip(starts, cues, strict=True), start=1):
        end = max(cue.end, start + 1)
        yield _Cue(start, min([end, *starts[number : number + 1]]), cue.text)


def _times(cue: _Cue, point: str) -> str:
    return f"{_time(cue.start, point)} --> {_time(cue.end, point)}"


def _time(milliseconds: int, point: str) -> str:
    seconds, thousandths = divmod(milliseconds, 1000)
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours:02}:{minute:02}:{second:02}{point}{thousandths:03}"


# --- lines ---------------------------------------------------------------------------------------


def _lines(text: str, width: int | None) -> list[str]:
    """As few lines as hold the text, the widest of them as narrow as it can be."""
    if width is None:
        return [text]
    pieces = []
    for piece in _cut(text, _may_break):
        fits = _columns(piece.rstrip()) <= width
        pieces += [piece] if fits else _cut(piece, lambda a, b: not _one_letter(a, b))
    count = len(_filled(pieces, width))
    narrowest = bisect_left(range(width), -count, key=lambda limit: -len(_filled(pieces, limit)))
    return _filled(pieces, narrowest)


def _filled(pieces: list[str], width: int) -> list[str]:
    """Lines with as many pieces as each holds, one at least."""
    lines, line, used = [], "", 0
    for piece in pieces:
        if line and used + _columns(piece.rstrip()) > width:
            lines.append(line.rstrip())
            line, used = "", 0
        line, used = line + piece, used + _columns(piece)
    return [*lines, line.rstrip()]


def _cut(text: str, may_cut: Callable[[str, str], bool]) -> list[str]:
    """The text in pieces, cut between all two characters that allow it."""
    places = [at for at in range(1, len(text)) if may_cut(text[at - 1], text[at])]
    return [text[a:b] for a, b in pairwise([0, *places, len(text)])]


def _may_break(before: str, after: str) -> bool:
    if before == " ":
        return True
    return (
        (unspaced(before) or unspaced(after))
        and after != " "
        and after not in _NOT_FIRST
        and before not in _NOT_LAST
        and unicodedata.category(after) not in ("Pe", "Pf")
        and unicodedata.category(before) not in ("Ps", "Pi")
        and not _one_letter(before, after)
    )


def _one_letter(before: str, after: str) -> bool:
    """Whether the second character is drawn upon the first or joined to it."""
    return _no_width(after) or before in _JOINERS


def _columns(text: str) -> int:
    """Columns of a terminal, the common measure of subtitles."""
    return sum(
        0 if _no_width(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text
    )


def _no_width(character: str) -> bool:
    """Combining marks and invisible signs."""
    category = unicodedata.category(character)
    return category == "Cf" or category[0] == "M"
