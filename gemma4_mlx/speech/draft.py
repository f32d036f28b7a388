"""From what was heard in windows to the segments of a transcript."""

from collections.abc import Sequence
from dataclasses import replace

from gemma4_mlx.speech.clock import clock
from gemma4_mlx.speech.listening import Heard
from gemma4_mlx.speech.merging import merge
from gemma4_mlx.speech.options import Options
from gemma4_mlx.speech.prompts import split_translation
from gemma4_mlx.speech.transcript import Segment, Transcript, join_texts
from gemma4_mlx.speech.windows import Window


class Draft:
    """The transcript of one recording while it grows; windows come in order."""

    def __init__(self, options: Options):
        self._options = options
        self._segments: list[Segment] = []
        self._held: tuple[Segment, Window] | None = None  # it shares words with the next

    def add(self, window: Window, heard: Heard) -> list[Segment]:
        """The segments that this decides."""
        segment, decided = self._segment(window, heard), []
        if self._held is not None:
            before, segment = _without_shared(*self._held, segment, window)
            decided.append(before)
            self._held = None
        if window.shared:
            self._held = segment, window
        else:
            decided.append(segment)
        self._segments += decided
        return decided

    def rest(self) -> list[Segment]:
        """The segments that still waited, at the end of the recording."""
        decided = [] if self._held is None else [self._held[0]]
        self._held = None
        self._segments += decided
        return decided

    def transcript(self, seconds: float, warnings: Sequence[str]) -> Transcript:
        """The whole; segments in which the model heard nothing are left out."""
        said = [segment for segment in self._segments if segment.text or segment.incomplete]
        return Transcript(
            text=join_texts(segment.text for segment in said),
            segments=said,
            language=self._options.language,
            warnings=[*warnings, *(note for one in self._segments for note in one.warnings)],
            translate_to=self._options.translate_to,
            seconds=seconds,
        )

    def _segment(self, window: Window, heard: Heard) -> Segment:
        start, end = self._options.start + window.start, self._options.start + window.end
        text, source, warnings = " ".join(heard.text.split()), None, []
        place = f"{clock(start)} to {clock(end)}"
        if heard.incomplete:
            warnings.append(f"{place}: the model did not come to an end; words are missing here")
        if self._options.translate_to is not None and text:
            parts = split_translation(heard.text, self._options.translate_to)
            if parts is None:
                warnings.append(f"{place}: no translation was marked in the reply, given whole")
            else:
                source, text = parts
        return Segment(start, end, text, source, tuple(warnings), heard.incomplete)


def _without_shared(
    before: Segment, window: Window, after: Segment, following: Window
) -> tuple[Segment, Segment]:
    """Two neighbours without the words that both windows have."""
    merged = merge(
        before.text,
        after.text,
        window.shared / window.seconds,
        following.overlap / following.seconds,
    )
    if not merged.agreed:
        warning = (
            f"about {clock(after.start)}: nobody paused, and the texts before and after do not "
            "meet; words may be missing or doubled here"
        )
        after = replace(after, warnings=(warning, *after.warnings))
    return replace(before, text=merged.left), replace(after, text=merged.right)
