"""What was said in a recording, and the files it can be written to.

TSV is that of OpenAI's whisper (https://github.com/openai/whisper), so that what reads one reads
the other; subtitles have a file of their own.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from gemma4_mlx.speech.subtitles import to_srt, to_vtt, unspaced

# Follows a passage that is incomplete wherever it is written for people.
UNFINISHED = " […]"

# Chinese and Japanese share these with scripts that have spaces: the letter beside them tells.
_SHARED = "“”‘’…—"


@dataclass(frozen=True)
class Segment:
    """What is said from ``start`` to ``end`` (seconds).

    With a translation asked for, ``text`` is the translation and ``source`` the transcription.
    ``warnings`` say what may be wrong with this piece. ``incomplete``: the model could not write
    it down to its end.
    """

    start: float
    end: float
    text: str
    source: str | None = None
    warnings: tuple[str, ...] = ()
    incomplete: bool = False

    @property
    def written(self) -> str:
        """The text, with ``UNFINISHED`` where it is incomplete."""
        return (self.text + UNFINISHED).strip() if self.incomplete else self.text


@dataclass(frozen=True)
class Transcript:
    """The text of a recording of so many ``seconds``.

    ``language`` and ``translate_to`` are what was asked for, by English names, or None.
    ``warnings`` say what was changed about the recording (resampled, mixed down) and what may be
    wrong with the text.
    """

    text: str
    segments: list[Segment]
    language: str | None = None
    warnings: list[str] = field(default_factory=list)
    translate_to: str | None = None
    seconds: float | None = None

    @property
    def is_complete(self) -> bool:
        """Whether the model wrote down every segment to its end."""
        return not any(segment.incomplete for segment in self.segments)

    def to_txt(self) -> str:
        """The text alone, in one line."""
        return join_texts(segment.written for segment in self.segments) + "\n"

    def to_srt(self, max_line_width: int | None = None, max_line_count: int | None = None) -> str:
        """SubRip subtitles; for the limits, see ``subtitles.to_srt``."""
        return to_srt(self.segments, max_line_width, max_line_count)

    def to_vtt(self, max_line_width: int | None = None, max_line_count: int | None = None) -> str:
        """WebVTT subtitles; for the limits, see ``subtitles.to_srt``."""
        return to_vtt(self.segments, max_line_width, max_line_count)

    def to_tsv(self) -> str:
        """A table of starts and ends in milliseconds, and texts."""
        rows = (
            f"{round(s.start * 1000)}\t{round(s.end * 1000)}\t{' '.join(s.written.split())}\n"
            for s in self.segments
        )
        return "start\tend\ttext\n" + "".join(rows)

    def to_json(self, name: str | None = None) -> str:
        """One line, so that those of several recordings are JSON Lines; ``name`` is the file."""
        document = {
            "file": name,
            "language": self.language,
            "translate_to": self.translate_to,
            "duration": None if self.seconds is None else round(self.seconds, 3),
            "text": self.text,
            "segments": [_entry(segment) for segment in self.segments],
            "warnings": self.warnings,
        }
        return json.dumps(document, ensure_ascii=False) + "\n"


def _entry(segment: Segment) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "start": round(segment.start, 3),
        "end": round(segment.end, 3),
        "text": segment.text,
    }
    if segment.source is not None:
        entry["source"] = segment.source
    if segment.incomplete:
        entry["incomplete"] = True
    return entry


def join_texts(texts: Iterable[str]) -> str:
    """Texts with one space between, or none where both sides are written without spaces.

    >>> join_texts(["Er sagte:", "", "你好，", "世界。"])
    'Er sagte: 你好，世界。'
    """
    joined = ""
    for text in map(str.strip, texts):
        meet = joined.rstrip(_SHARED)[-1:], text.lstrip(_SHARED)[:1]
        joined += " " + text if joined and text and not all(map(unspaced, meet)) else text
    return joined
