"""The formats of a transcript."""

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gemma4_mlx.speech.transcript import Transcript


class Format(StrEnum):
    """How a transcript is written; ``all`` is each of the others."""

    TXT = "txt"
    SRT = "srt"
    VTT = "vtt"
    TSV = "tsv"
    JSON = "json"
    ALL = "all"

    @property
    def each(self) -> "tuple[Format, ...]":
        """The formats it stands for."""
        if self is not Format.ALL:
            return (self,)
        return tuple(form for form in Format if form is not Format.ALL)

    @property
    def has_lines(self) -> bool:
        """Whether it has subtitles, whose lines can be too long."""
        return self in (Format.SRT, Format.VTT, Format.ALL)


def written(
    transcript: "Transcript",
    form: Format,
    name: str,
    max_line_width: int | None = None,
    max_line_count: int | None = None,
) -> str:
    """A transcript of the recording ``name`` in one of the formats."""
    if form is Format.TXT:
        return transcript.to_txt()
    if form is Format.JSON:
        return transcript.to_json(name)
    if form is Format.TSV:
        return transcript.to_tsv()
    write = transcript.to_srt if form is Format.SRT else transcript.to_vtt
    return write(max_line_width, max_line_count)
