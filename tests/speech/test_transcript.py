"""Transcripts and the files they are written to."""

import csv
import io
import json
from typing import Any

import pysubs2
import pytest

from gemma4_mlx.speech.transcript import Segment, Transcript, join_texts

PARTS = [
    Segment(0.0004, 1.2346, "Guten Tag.", source="Good day."),
    Segment(1.2346, 4.0, "", warnings=("0:01.2 to 0:04.0: silence",)),
    Segment(4.0, 3725.5, "Und so", incomplete=True),
    Segment(3725.5, 3726.0, "weiter."),
]


def transcript(segments: list[Segment] = PARTS, **more: Any) -> Transcript:
    return Transcript("Guten Tag. Und so weiter.", segments, **more)


@pytest.mark.parametrize(
    ("texts", "joined"),
    [
        ([], ""),
        (["", " "], ""),
        (["one", "", " two "], "one two"),
        (["你好，", "世界。", "再见"], "你好，世界。再见"),
        (["今日は", "カタカナ", "漢字"], "今日はカタカナ漢字"),
        (["สวัสดี", "ครับ"], "สวัสดีครับ"),
        (["ສະບາຍ", "ດີ"], "ສະບາຍດີ"),
        (["សួស្តី", "ពិភពលោក"], "សួស្តីពិភពលោក"),
        (["မင်္ဂလာ", "ပါ"], "မင်္ဂလာပါ"),
        (["你好", "world", "世界"], "你好 world 世界"),
        (["안녕", "하세요"], "안녕 하세요"),
        (["ㅋㅋ", "ㅎㅎ"], "ㅋㅋ ㅎㅎ"),
        (["Ａ級！", "（笑）"], "Ａ級！（笑）"),
        (["𠮷野", "𠮷", "\uf900"], "𠮷野𠮷\uf900"),
        (["他说：“好。”", "“嗯……”", "走了"], "他说：“好。”“嗯……”走了"),
        (["He said “no…”", "“Yes.”"], "He said “no…” “Yes.”"),
    ],
)
def test_joining(texts: list[str], joined: str) -> None:
    assert join_texts(texts) == joined
    assert join_texts(iter(texts)) == joined


def test_text_marks_what_is_incomplete() -> None:
    assert transcript().to_txt() == "Guten Tag. Und so […] weiter.\n"
    assert PARTS[2].text == "Und so"
    assert Segment(0, 1, "", incomplete=True).written == "[…]"
    assert Transcript("", []).to_txt() == "\n"


def test_complete_or_not() -> None:
    assert not transcript().is_complete
    assert transcript(PARTS[:2]).is_complete and transcript([]).is_complete


def test_json() -> None:
    written = transcript(
        language="English", translate_to="German", warnings=["zu leise"], seconds=3726.12345
    ).to_json("memo.wav")
    assert written.endswith("}\n") and written.count("\n") == 1
    assert json.loads(written) == {
        "file": "memo.wav",
        "language": "English",
        "translate_to": "German",
        "duration": 3726.123,
        "text": "Guten Tag. Und so weiter.",
        "segments": [
            {"start": 0.0, "end": 1.235, "text": "Guten Tag.", "source": "Good day."},
            {"start": 1.235, "end": 4.0, "text": ""},
            {"start": 4.0, "end": 3725.5, "text": "Und so", "incomplete": True},
            {"start": 3725.5, "end": 3726.0, "text": "weiter."},
        ],
        "warnings": ["zu leise"],
    }


def test_json_of_what_is_not_known() -> None:
    written = Transcript("né\n世", [Segment(0, 1, "né\n世", source="")]).to_json()
    document = json.loads(written)
    assert "né" in written and "世" in written and written.count("\n") == 1
    assert document["segments"] == [{"start": 0, "end": 1, "text": "né\n世", "source": ""}]
    nulls = {key for key, value in document.items() if value is None}
    assert nulls == {"file", "language", "translate_to", "duration"}


def test_tsv() -> None:
    parts = [*PARTS, Segment(3726, 3727, ' a\tb\r\nc "d" ')]
    rows = csv.reader(
        io.StringIO(transcript(parts).to_tsv(), newline=""), delimiter="\t", quoting=csv.QUOTE_NONE
    )
    assert list(rows) == [
        ["start", "end", "text"],
        ["0", "1235", "Guten Tag."],
        ["1235", "4000", ""],
        ["4000", "3725500", "Und so […]"],
        ["3725500", "3726000", "weiter."],
        ["3726000", "3727000", 'a b c "d"'],
    ]


@pytest.mark.parametrize("form", ["srt", "vtt"])
def test_subtitles(form: str) -> None:
    write = getattr(transcript(), f"to_{form}")
    whole = pysubs2.SSAFile.from_string(write(), format_=form)
    assert [(cue.start, cue.end, cue.text) for cue in whole] == [
        (0, 1235, "Guten Tag."),
        (4000, 3725500, "Und so […]"),
        (3725500, 3726000, "weiter."),
    ]
    narrow = pysubs2.SSAFile.from_string(write(7, max_line_count=1), format_=form)
    assert [cue.text for cue in narrow] == ["Guten", "Tag.", "Und so", "[…]", "weiter."]
