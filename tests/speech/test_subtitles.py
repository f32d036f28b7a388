"""Subtitles, read back with pysubs2."""

import html
import random
import re
import textwrap
import unicodedata
from collections.abc import Callable
from itertools import combinations, pairwise
from typing import Any

import pysubs2
import pytest

from gemma4_mlx.errors import InputError
from gemma4_mlx.speech.subtitles import to_srt, to_vtt
from gemma4_mlx.speech.transcript import Segment

WRITERS: dict[str, Callable[..., str]] = {"srt": to_srt, "vtt": to_vtt}
both = pytest.mark.parametrize("form", WRITERS)

LATIN = ["I", "you", "went", "there,", "yesterday", "(almost)", "über", "incomprehensibility", "—"]
SIGNS = ["<i>", "&amp;", "a<b", "-->", "a--->b", "\t", "\n\n", "\r\n", "\u2028", "3", ">", "&"]
CHINESE = list("我们昨天去了那里吃饭，。！？「」（）、Ｂ𠮷")
THAI = ["สวัสดี", "ครับ", "ที่", "น้ำ", "ไป", "เก้า", "ๆ"]


def read(written: str, form: str) -> list[tuple[int, int, list[str]]]:
    """Start, end and lines of each cue."""
    cues = pysubs2.SSAFile.from_string(written, format_=form, keep_html_tags=True)
    plain = html.unescape if form == "vtt" else str
    return [(cue.start, cue.end, plain(cue.text).split(r"\N")) for cue in cues]


def lines(text: str, width: int | None = None, count: int | None = None) -> list[list[str]]:
    return [cue[2] for cue in read(to_srt([Segment(0, 60, text)], width, count), "srt")]


def squeezed(texts: list[str], form: str) -> str:
    """Without spaces, as lines break at them, and without the arrows that SubRip cannot have."""
    text = "".join("".join(texts).split())
    return re.sub("--+>", "->", text) if form == "srt" else text


def drawn(line: str) -> int:
    marks = ("Mn", "Mc", "Me", "Cf")
    seen = [c for c in line if unicodedata.category(c) not in marks]
    return len(seen) + sum(unicodedata.east_asian_width(c) in "WF" for c in seen)


def some_text(chance: random.Random) -> str:
    words = chance.choice([LATIN, CHINESE, THAI, LATIN + SIGNS, LATIN + CHINESE + THAI + SIGNS])
    text = ""
    for word in chance.choices(words, k=chance.randrange(60)):
        text += word + " " * (words is LATIN or chance.random() < 0.5)
    # pysubs2 takes a number that ends a file for the next cue's.
    return re.sub(r"[3\s]+$", "", text)


def some_segments(chance: random.Random) -> list[Segment]:
    """In order for the most part, some very short, beginning before 0, or upon one another."""
    segments, at = [], -1.0
    for _ in range(chance.randrange(1, 6)):
        length = chance.choice([0, 0.0004, 0.003, chance.random(), 30 * chance.random()])
        text, incomplete = some_text(chance), chance.random() < 0.1
        segments.append(Segment(at, at + length, text, incomplete=incomplete))
        at += length + chance.choice([0, 0.0003, chance.random(), -length / 2])
    return segments


# --- the files ---------------------------------------------------------------------------------

TWO = [
    Segment(0, 1.5, 'Tom & "Jerry" <3'),
    Segment(1.5, 1.75, " "),
    Segment(359999.9996, 360001.0004, "a --> b", incomplete=True),
]


def test_subrip_to_the_letter() -> None:
    assert to_srt(TWO) == (
        '1\n00:00:00,000 --> 00:00:01,500\nTom & "Jerry" <3\n\n'
        "2\n100:00:00,000 --> 100:00:01,000\na -> b […]\n\n"
    )


def test_webvtt_to_the_letter() -> None:
    assert to_vtt(TWO) == (
        "WEBVTT\n\n"
        '00:00:00.000 --> 00:00:01.500\nTom &amp; "Jerry" &lt;3\n\n'
        "100:00:00.000 --> 100:00:01.000\na --&gt; b […]\n\n"
    )


def test_no_segments() -> None:
    assert to_srt([]) == "" and to_vtt([Segment(0, 1, "\n")]) == "WEBVTT\n\n"


@both
@pytest.mark.parametrize(
    "text",
    [
        "one\n\n2\n00:00:05,000 --> 00:00:06,000\ntwo",
        "one\r\rtwo\x0b\x0c\u2028\u2029\x85 three",
        "--------> ->--> -->",
    ],
)
def test_a_text_does_not_break_the_file(form: str, text: str) -> None:
    segments = [Segment(0, 1, text), Segment(1, 2, "next")]
    blocks = WRITERS[form](segments).strip().removeprefix("WEBVTT").strip().split("\n\n")
    assert len(blocks) == 2
    assert [len(block.splitlines()) for block in blocks] == [3 if form == "srt" else 2] * 2
    assert all(block.count("-->") == 1 for block in blocks)


@both
def test_random_segments(form: str) -> None:
    for seed in range(400):
        chance = random.Random(seed)
        segments = some_segments(chance)
        width = chance.choice([None, 4, 5, 12, 42])
        count = chance.choice([None, 1, 2, 3]) if width else None
        cues = read(WRITERS[form](segments, width, count), form)

        said = [segment.written for segment in segments]
        assert squeezed([line for cue in cues for line in cue[2]], form) == squeezed(said, form)

        times = [time for start, end, _ in cues for time in (start, end)]
        assert times == sorted(times) and min(times, default=0) >= 0
        assert all(start < end for start, end, _ in cues)

        every = [line for cue in cues for line in cue[2]]
        assert all(line.strip() == line != "" for line in every)
        assert width is None or max(map(drawn, every), default=0) <= width
        assert width or all(len(cue[2]) == 1 for cue in cues)
        assert count is None or max((len(cue[2]) for cue in cues), default=0) <= count


# --- times -------------------------------------------------------------------------------------


@both
def test_neighbours_stay_neighbours_when_rounded(form: str) -> None:
    edges = [number * 0.33335 for number in range(200)]
    cues = read(WRITERS[form]([Segment(a, b, "so") for a, b in pairwise(edges)]), form)
    assert all(first[1] == second[0] for first, second in pairwise(cues))
    assert all(abs(cue[0] - edge * 1000) <= 0.5 for cue, edge in zip(cues, edges, strict=False))


def test_times_that_are_none() -> None:
    """The end gives way to the next start, as long as something is left to be seen."""
    given = [(-2, -1), (0.5, 3), (1, 1), (1, 0.5), (1, 2)]
    cues = read(to_srt([Segment(start, end, "so") for start, end in given]), "srt")
    assert [cue[:2] for cue in cues] == [
        (0, 1),
        (500, 1000),
        (1000, 1001),
        (1001, 1002),
        (1002, 2000),
    ]


def test_inner_times_are_by_characters() -> None:
    segment = Segment(10, 20, "abcdefghi k mnopqrstu wxyz")
    cues = read(to_srt([segment, Segment(25, 26, "end")], 11, 1), "srt")
    assert cues == [
        (10000, 14583, ["abcdefghi k"]),  # 11 of 24
        (14583, 18333, ["mnopqrstu"]),
        (18333, 20000, ["wxyz"]),
        (25000, 26000, ["end"]),
    ]


# --- lines -------------------------------------------------------------------------------------


def test_no_more_lines_than_needed() -> None:
    """As many as textwrap makes, which fills each line."""
    chance = random.Random(1)
    for _ in range(300):
        text = " ".join(chance.choices(LATIN, k=chance.randrange(1, 40)))
        width = chance.randrange(20, 60)
        filled = textwrap.wrap(text, width, break_on_hyphens=False)
        assert len(lines(text, width)[0]) == len(filled)


def test_lines_are_balanced() -> None:
    """Of all ways to break a text into so many lines, one with the narrowest widest line."""
    assert lines("We all went there again yesterday, too", 35) == [
        ["We all went there", "again yesterday, too"]
    ]
    chance = random.Random(2)
    for _ in range(200):
        words = chance.choices(LATIN, k=chance.randrange(1, 10))
        made = lines(" ".join(words), 24)[0]
        ways = (
            [" ".join(words[a:b]) for a, b in pairwise([0, *places, len(words)])]
            for places in combinations(range(1, len(words)), len(made) - 1)
        )
        assert max(map(len, made)) == min(max(map(len, way)) for way in ways)


def test_cues_are_balanced() -> None:
    assert lines("one two three four five", 5, 3) == [["one", "two"], ["three", "four", "five"]]
    assert lines("one two three four", 5, 3) == [["one", "two"], ["three", "four"]]
    assert lines("one two three", 5, 3) == [["one", "two", "three"]]


@pytest.mark.parametrize(
    ("text", "width", "broken"),
    [
        ("我们昨天去了那里", 8, ["我们昨天", "去了那里"]),
        ("我们昨天，去了那里", 8, ["我们昨", "天，去", "了那里"]),
        ("我们昨（天）去", 8, ["我们昨", "（天）去"]),
        ("他说：“好”，是吧", 10, ["他说：", "“好”，是吧"]),
        ("我（天）们", 8, ["我（天）", "们"]),
        ("ちょっとキャット", 8, ["ちょっと", "キャット"]),
        ("ああっあ", 6, ["ああっ", "あ"]),
        ("ああゃあ", 6, ["ああゃ", "あ"]),
        ("我用Python写", 10, ["我用", "Python写"]),
        ("Python我们", 8, ["Python", "我们"]),
        ("안녕하세요 여러분", 10, ["안녕하세요", "여러분"]),
        ("a incomprehensibility", 10, ["a incom", "prehens", "ibility"]),
        ("e\u0301e\u0301e\u0301e\u0301e\u0301", 4, ["e\u0301e\u0301e\u0301", "e\u0301e\u0301"]),
        ("！！！！！", 4, ["！！", "！！", "！"]),
        ("ไปไปไป", 4, ["ไปไป", "ไป"]),
        ("ໄປໄປໄປ", 4, ["ໄປໄປ", "ໄປ"]),
        ("ມາມາມາ", 4, ["ມາມາ", "ມາ"]),
        ("co\u00adop", 4, ["co\u00adop"]),
        ("👩\u200d💻" * 3, 6, ["👩\u200d💻"] * 3),
    ],
)
def test_where_lines_break(text: str, width: int, broken: list[str]) -> None:
    assert lines(text, width) == [broken]


def test_letters_are_left_whole() -> None:
    chance = random.Random(3)
    for _ in range(200):
        text = "".join(chance.choices([*THAI, "သင်္ဘော", "ក្រុង", "が"], k=30))
        text = unicodedata.normalize("NFD", "가" + text)
        for line in lines(text, chance.randrange(12, 30))[0]:
            assert unicodedata.category(line[0])[0] != "M" and line[0] not in "ำๆ"
            assert line[-1] not in "เไ\u17d2\u1039"


# --- refusals ----------------------------------------------------------------------------------


@both
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"max_line_width": 3}, "max_line_width is 3, expected a whole number of at least 4"),
        ({"max_line_width": 42.0}, "max_line_width is 42.0"),
        ({"max_line_width": 42, "max_line_count": 0}, "max_line_count is 0, .* at least 1"),
        ({"max_line_width": 42, "max_line_count": True}, "max_line_count is True"),
        ({"max_line_count": 2}, "max_line_count is 2 and max_line_width is not set"),
    ],
)
def test_limits_that_are_none(form: str, given: dict[str, Any], message: str) -> None:
    """Before anything else: without segments too."""
    with pytest.raises(InputError, match=message):
        WRITERS[form]([], **given)
