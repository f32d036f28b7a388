"""A recording of any length into text: ``transcribe``, and the same segment by segment."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from gemma4_mlx.speech.events import Failed, Finished, Opened, Said
from gemma4_mlx.speech.options import Options
from gemma4_mlx.speech.recordings import AudioSource, transcribe_all
from gemma4_mlx.speech.transcript import Segment, Transcript

if TYPE_CHECKING:
    from gemma4_mlx.model import Gemma4Model
    from gemma4_mlx.processing.processor import Processor


def transcribe(
    model: "Gemma4Model",
    processor: "Processor",
    audio: AudioSource,
    language: str | None = None,
    translate_to: str | None = None,
    *,
    prompt: str | None = None,
    start: float = 0.0,
    end: float | None = None,
    batch_size: int | None = None,
    window: float | None = None,
    vad: bool = True,
    max_tokens: int | None = None,
    on_segment: Callable[[Segment, float | None], None] | None = None,
) -> Transcript:
    """What is said in a recording: a path, samples at 16 kHz, or (samples, rate).

    ``language`` is what is spoken (name or code; None: let the model hear), ``translate_to`` what
    the text shall be in, ``prompt`` names and terms in their spelling. ``start`` and ``end`` in
    seconds choose a part. ``batch_size`` windows are heard at once (None: as many as fit the
    memory, up to 8), each of at most ``window`` seconds (None: the model's 30). With ``vad`` (voice
    activity detection) False, music and silence are heard too. ``max_tokens`` limits each window.
    ``on_segment`` hears of each segment when it is done, with the length of the recording in
    seconds where that is known.

    Raises MediaError for a recording that cannot be read, InputError for an unknown language,
    for other settings out of range and for a model without an audio tower.
    """
    options = Options(
        language, translate_to, prompt, start, end, batch_size, window, vad, max_tokens
    )
    length = None
    for event in transcribe_all(model, processor, [audio], options):
        if isinstance(event, Opened):
            length = event.seconds
        elif isinstance(event, Said) and on_segment is not None:
            on_segment(event.segment, length)
        elif isinstance(event, Failed):
            raise event.error
        elif isinstance(event, Finished):
            return event.transcript
    raise AssertionError("a recording has neither finished nor failed")


def transcribe_segments(
    model: "Gemma4Model",
    processor: "Processor",
    audio: AudioSource,
    language: str | None = None,
    translate_to: str | None = None,
    **settings: Any,
) -> Iterator[Segment]:
    """The segments of ``transcribe``, each as soon as it is known; settings and errors as there."""
    options = Options(language, translate_to, **settings)
    return _segments(transcribe_all(model, processor, [audio], options))


def _segments(events: Iterator[Any]) -> Iterator[Segment]:
    for event in events:
        if isinstance(event, Failed):
            raise event.error
        if isinstance(event, Said) and (event.segment.text or event.segment.incomplete):
            yield event.segment
