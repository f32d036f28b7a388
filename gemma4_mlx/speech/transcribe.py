"""A recording of any length into text, window by window.

Each window is one short conversation: the recording, then the official prompt, answered greedily.
The windows are worked through lazily, so that a caller can show the text as it comes.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from gemma4_mlx.errors import InputError
from gemma4_mlx.generation.stream import stream_generate
from gemma4_mlx.processing.waveform import load_waveform
from gemma4_mlx.speech.clock import clock
from gemma4_mlx.speech.languages import language_name
from gemma4_mlx.speech.prompts import speech_prompt, split_translation
from gemma4_mlx.speech.windows import Window, cut_windows

if TYPE_CHECKING:
    from gemma4_mlx.model import Gemma4Model
    from gemma4_mlx.processing.processor import Processor

# 30 s of quick speech is some 150 words; twice the tokens leaves room for a translation beside it.
_TOKENS_PER_WINDOW = 768

# A path, samples at the model's rate (16 kHz), or samples and their rate.
AudioSource = Any


@dataclass(frozen=True)
class Segment:
    """What is said from ``start`` to ``end`` (seconds).

    With a translation asked for, ``text`` is the translation and ``source`` the transcription.
    ``warnings`` say what may be wrong with this piece.
    """

    start: float
    end: float
    text: str
    source: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Transcript:
    """The text of a recording. ``language`` is what was asked for, by its English name, or None.

    ``warnings`` say what was changed about the recording (resampled, mixed down) and what may be
    wrong with the text.
    """

    text: str
    segments: list[Segment]
    language: str | None = None
    warnings: list[str] = field(default_factory=list)


def transcribe(
    model: "Gemma4Model",
    processor: "Processor",
    audio: AudioSource,
    language: str | None = None,
    translate_to: str | None = None,
    *,
    max_tokens: int | None = None,
    on_segment: Callable[[Segment, float], None] | None = None,
) -> Transcript:
    """What is said in a recording: a path, samples at 16 kHz, or (samples, rate).

    ``language`` is what is spoken (name or code; None: let the model hear), ``translate_to`` what
    the text shall be in. ``max_tokens`` limits each window (of up to 30 s). ``on_segment``
    hears of each segment when it is done, with the length of the recording in seconds.

    Raises MediaError for a recording that cannot be read, InputError for an unknown language and
    for a model without an audio tower.
    """
    recording = open_recording(model, processor, audio)
    pieces = []
    for segment in recording.segments(language, translate_to, max_tokens=max_tokens):
        pieces.append(segment)
        if on_segment is not None:
            on_segment(segment, recording.seconds)
    return Transcript(
        text=" ".join(segment.text for segment in pieces if segment.text),
        segments=pieces,
        language=language_name(language) if language is not None else None,
        warnings=[*recording.notices, *(note for piece in pieces for note in piece.warnings)],
    )


def transcribe_segments(
    model: "Gemma4Model",
    processor: "Processor",
    audio: AudioSource,
    language: str | None = None,
    translate_to: str | None = None,
    *,
    max_tokens: int | None = None,
) -> Iterator[Segment]:
    """The segments of ``transcribe``, each as soon as it is known; the same errors."""
    recording = open_recording(model, processor, audio)
    return recording.segments(language, translate_to, max_tokens=max_tokens)


@dataclass
class Recording:
    """A recording read into memory, with the model that is to hear it.

    ``samples`` are mono at ``rate``; ``notices`` say what was changed to make them so.
    """

    model: "Gemma4Model"
    processor: "Processor"
    samples: np.ndarray
    rate: int
    notices: list[str]

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate

    def segments(
        self, language: str | None, translate_to: str | None, *, max_tokens: int | None = None
    ) -> Iterator[Segment]:
        """One segment a window, in order, generated when asked for."""
        prompt = speech_prompt(language, translate_to)  # a wrong language shows before any work
        limit = _TOKENS_PER_WINDOW if max_tokens is None else max_tokens
        windows = cut_windows(self.samples, self.rate, self.processor.settings.max_samples)
        return (self._hear(window, prompt, translate_to, limit) for window in windows)

    def _hear(
        self, window: Window, prompt: str, translate_to: str | None, max_tokens: int
    ) -> Segment:
        start, end = window.start / self.rate, window.stop / self.rate
        content = [
            {"type": "audio", "audio": self.samples[window.start : window.stop]},
            {"type": "text", "text": prompt},
        ]
        reply, reason, warnings = "", None, []
        messages = [{"role": "user", "content": content}]
        for chunk in stream_generate(
            self.model, self.processor, messages, max_tokens=max_tokens, temperature=0.0
        ):
            reply += chunk.text
            reason = chunk.finish_reason
        place = f"{clock(start)} to {clock(end)}"
        if reason == "length":
            warnings.append(f"{place}: the text was still going on after {max_tokens} tokens")

        text, source = " ".join(reply.split()), None
        if translate_to is not None:
            parts = split_translation(reply, translate_to)
            if parts is None:
                warnings.append(f"{place}: no translation was marked in the reply, given whole")
            else:
                source, text = parts
        return Segment(start, end, text, source, tuple(warnings))


def open_recording(model: "Gemma4Model", processor: "Processor", audio: AudioSource) -> Recording:
    """Read a recording for ``model``; errors as in ``transcribe``."""
    require_audio(model)
    waveform = load_waveform(audio, processor.sampling_rate)
    return Recording(model, processor, waveform.samples, waveform.rate, list(waveform.notices))


def require_audio(model: "Gemma4Model") -> None:
    """InputError unless the model can hear."""
    if not model.has_audio:
        raise InputError(
            "this model has no audio tower, so it cannot transcribe: use Gemma 4 E2B or E4B"
        )
