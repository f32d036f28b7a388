"""Cutting a recording into windows that the model can hear, at the pauses between words.

Gemma 4 hears so much at once as its ``processor_config.json`` says, 30 seconds in all released
models. The longer a window has become, the shorter a pause ends it: after a few words one of a
second and a half, after 20 seconds one of half a second. Where none comes in time, the longest of
those passed is taken; and where nobody paused, the next window begins some seconds before the end
of this one, so that a word cut in two is whole in one of them (merging.py joins the texts).

The sound is read as it comes and dropped when it has been cut: a recording of any length, also one
that has no end yet. What no window holds is silence or other sound than speech.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from gemma4_mlx.speech.loudness import quietest, spoken
from gemma4_mlx.speech.voice import FRAME, RATE, Detector, Span, SpeechSpans, silero

# Seconds of a pause that ends a window: at its beginning, and from two thirds of the longest on.
_LONG_PAUSE, _SHORT_PAUSE = 1.5, 0.5
# Seconds at least of one to cut in when the window is full: a detector hears pauses of up to 0.2 s
# in the fricatives of "seven".
_PAUSE = 0.25
_AROUND = 0.4  # seconds of sound kept before and after speech, at most
_OVERLAP = 4.0  # seconds heard twice where nobody paused
_SEARCH = 0.5  # seconds in which the quietest place for such a cut is looked for


@dataclass(frozen=True)
class Window:
    """Sound to be heard at once, with its place in the recording.

    ``samples`` (n,) begin at the sample ``first``; speech is from ``start`` to ``end`` seconds.
    ``overlap`` seconds at its beginning are the end of the window before as well, and ``shared``
    seconds at its end the beginning of the next.
    """

    first: int
    samples: np.ndarray
    start: float
    end: float
    overlap: float = 0.0
    shared: float = 0.0

    @property
    def seconds(self) -> float:
        return len(self.samples) / RATE


def cut_windows(
    blocks: Iterable[np.ndarray],
    longest: int,
    detector: Detector | None = None,
    *,
    overlap: bool = True,
) -> Iterator[Window]:
    """Windows of at most ``longest`` samples, each as soon as the sound so far decides it.

    ``blocks`` (n,) are at 16 kHz. ``detector`` None is Silero's. Without ``overlap`` speech
    without a pause is cut at its quietest place and nothing is heard twice.
    """
    cutter = WindowCutter(longest, detector or silero(), overlap=overlap)
    for block in blocks:
        yield from cutter.add(block)
    yield from cutter.finish()


class WindowCutter:
    """Takes sound in blocks of any size and gives windows; see cut_windows."""

    def __init__(self, longest: int, detector: Detector, *, overlap: bool = True):
        self._longest, self._detector = longest, detector
        self._heard_twice = round(min(_OVERLAP * RATE, longest / 4)) if overlap else 0
        self._speech = SpeechSpans()
        self._sound = np.zeros(0, np.float32)
        self._base = 0  # the sample of the recording that the sound begins with
        self._free = 0  # the first sample that no window has taken yet
        self._begun: int | None = None  # where the window begins, if not before its first word
        self._overlap = 0  # samples of it that the window before has too

    @property
    def heard(self) -> int:
        """Samples looked at so far."""
        return self._speech.frames * FRAME

    def add(self, block: np.ndarray) -> list[Window]:
        """More sound."""
        self._sound = np.concatenate([self._sound, block])
        windows = []
        while (at := self.heard - self._base) + FRAME <= len(self._sound):
            windows += self._look_at(self._sound[at : at + FRAME])
        self._drop_old()
        return windows

    def finish(self) -> list[Window]:
        """The end of the recording, which may lie within a frame."""
        windows = []
        total = self._base + len(self._sound)
        if total > self.heard:
            rest = self._sound[self.heard - self._base :]
            windows += self._look_at(np.pad(rest, (0, FRAME - len(rest))))
            for span in self._speech.spans[-1:]:
                span.last = min(span.last, -(-total // FRAME))
        if self._speech.spans:
            windows.append(self._take(self._speech.spans, None))
        return windows

    # --- when a window ends ----------------------------------------------------------------------

    def _look_at(self, frame: np.ndarray) -> list[Window]:
        speech = self._speech
        speech.add(self._detector(frame))
        if not speech.spans:
            return []
        first, last = speech.spans[0], speech.spans[-1]
        if not speech.speaking:
            pause = self.heard - last.last * FRAME
            said = (last.last - first.first) * FRAME
            if pause >= self._needed(said):
                return [self._take(speech.spans, self.heard)]
        if self.heard + FRAME - self._window_begin(first) > self._longest:
            return [self._cut_full()]
        return []

    def _needed(self, said: int) -> float:
        """Samples of pause that end a window with so many samples of speech and short pauses."""
        full = min(1.0, said / (self._longest * 2 / 3))
        return RATE * (_LONG_PAUSE + full * (_SHORT_PAUSE - _LONG_PAUSE))

    def _cut_full(self) -> Window:
        """Cut at the longest pause of the later part, or else within speech."""
        speech = self._speech
        begin = self._window_begin(speech.spans[0])
        ends = [span.first for span in speech.spans[1:]]
        ends += [] if speech.speaking else [speech.frames]
        pauses = [
            (end - span.last, number)
            for number, (span, end) in enumerate(zip(speech.spans, ends, strict=False), start=1)
            if span.last * FRAME - begin >= self._longest / 3
            and (end - span.last) * FRAME >= _PAUSE * RATE
        ]
        if pauses:
            _, number = max(pauses)
            spoken, rest = speech.spans[:number], speech.spans[number:]
            until = rest[0].first * FRAME if rest else self.heard
            return self._take(spoken, until, rest)
        return self._cut_in_speech(begin)

    def _cut_in_speech(self, begin: int) -> Window:
        reach = begin + self._longest
        search = min(round(_SEARCH * RATE), self._longest // 8)
        stop = self._quietest(reach - search, min(reach, self.heard))
        again = stop
        if self._heard_twice:
            middle = stop - self._heard_twice
            again = self._quietest(middle - search // 2, middle + search // 2)
        spans, frame = self._speech.spans, again // FRAME
        rest = [Span(max(span.first, frame), span.last) for span in spans if span.last > frame]
        shared = stop - again if rest else 0
        window = self._window(begin, stop, max(begin, spans[0].first * FRAME), None, shared)
        self._speech.spans = rest
        if rest:
            self._begun, self._overlap, self._free = again, stop - again, again
        else:  # nothing has been spoken there
            self._begun, self._overlap, self._free = None, 0, stop
        return window

    # --- what a window holds ---------------------------------------------------------------------

    def _take(self, spans: list[Span], until: int | None, rest: list[Span] | None = None) -> Window:
        """The window of these spans, followed by a pause as far as ``until`` (None: the end)."""
        begin, last = self._window_begin(spans[0]), spans[-1].last * FRAME
        around = round(_AROUND * RATE)
        end = min(last + around, begin + self._longest, self._base + len(self._sound))
        if until is not None and until - last < 2 * around:
            # A soft "s" may belong to the word before the pause or to that after it.
            end = min(end, until)
            end = self._quietest(min(last + around // 2, end), end)
        window = self._window(begin, end, max(begin, spans[0].first * FRAME), min(last, end))
        self._speech.spans = rest or []
        self._begun, self._overlap, self._free = None, 0, end
        return window

    def _window(
        self, begin: int, end: int, first: int, last: int | None, shared: int = 0
    ) -> Window:
        """Samples ``begin`` to ``end``, in which speech was detected from ``first`` to ``last``.

        ``last`` None: it goes on. Of what two windows share, each has a half by its times.
        """
        samples = self._sound[begin - self._base : end - self._base].copy()
        start, stop = spoken(samples, first - begin, (end if last is None else last) - begin)
        if self._overlap:
            start = self._overlap // 2
        if last is None:
            stop = len(samples) - shared + shared // 2
        return Window(
            begin,
            samples,
            (begin + start) / RATE,
            (begin + max(start, stop)) / RATE,
            self._overlap / RATE,
            shared / RATE,
        )

    def _window_begin(self, first: Span) -> int:
        if self._begun is not None:
            return self._begun
        return max(self._free, first.first * FRAME - round(_AROUND * RATE))

    def _quietest(self, first: int, last: int) -> int:
        return self._base + quietest(self._sound, first - self._base, last - self._base)

    def _drop_old(self) -> None:
        """Forget the sound that no window can begin with any more."""
        spans = self._speech.spans
        needed = self._window_begin(spans[0]) if spans else self.heard - round(_AROUND * RATE)
        # Half a second at a time: dropping copies what stays.
        if needed - self._base > RATE // 2:
            self._sound = self._sound[needed - self._base :].copy()
            self._base = needed


def halves(window: Window) -> tuple[Window, Window]:
    """A window cut at the quietest place about its middle."""
    third = len(window.samples) // 3
    middle = quietest(window.samples, third, 2 * third)
    at = (window.first + middle) / RATE
    return (
        replace(window, samples=window.samples[:middle], end=at, shared=0.0),
        replace(
            window,
            first=window.first + middle,
            samples=window.samples[middle:],
            start=at,
            overlap=0.0,
        ),
    )
