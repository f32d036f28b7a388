"""Several recordings into text, with what happens told as it happens.

A recording is read as it is needed, cut into windows at its pauses (windows.py), heard a batch of
windows at a time (listening.py), and put together in order (draft.py). Batches do not stop at the
end of a recording: the windows of many short ones are heard together.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from gemma4_mlx.errors import Gemma4Error, InputError
from gemma4_mlx.processing.sound_stream import open_sound
from gemma4_mlx.speech.batch_size import fitting_batch_size
from gemma4_mlx.speech.clock import clock
from gemma4_mlx.speech.draft import Draft
from gemma4_mlx.speech.events import Event, Failed, Finished, Opened, Said
from gemma4_mlx.speech.listening import Listener
from gemma4_mlx.speech.options import Options
from gemma4_mlx.speech.voice import RATE, everything
from gemma4_mlx.speech.windows import Window, cut_windows

if TYPE_CHECKING:
    from gemma4_mlx.model import Gemma4Model
    from gemma4_mlx.processing.processor import Processor


class Sound(AbstractContextManager["Sound"], Protocol):
    """Sound as it comes: what ``open_sound`` gives, or a microphone."""

    name: str
    seconds: float | None

    @property
    def notices(self) -> list[str]:
        """What was done to the sound so far."""

    def blocks(self) -> Iterator[np.ndarray]:
        """Samples (n,) float32 at 16 kHz, in order."""


# A path, samples at 16 kHz, samples and their rate, or a Sound.
AudioSource = Any


def transcribe_all(
    model: "Gemma4Model",
    processor: "Processor",
    recordings: Iterable[AudioSource],
    options: Options | None = None,
) -> Iterator[Event]:
    """Transcribe recordings; what happens comes in their order.

    One that fails does not stop the others. Raises InputError, at once, for a model without an
    audio tower.
    """
    require_audio(model)
    options = options or Options()
    listener = Listener(
        model,
        processor,
        options.question,
        batch_size=options.batch_size or fitting_batch_size(model, processor),
        max_tokens=options.max_tokens,
        translates=options.translate_to is not None,
    )
    longest = processor.settings.max_samples
    if options.window is not None:
        longest = min(longest, round(options.window * RATE))
    return _events(recordings, listener, options, longest)


def require_audio(model: "Gemma4Model") -> None:
    """InputError unless the model can hear."""
    if not model.has_audio:
        raise InputError(
            "this model has no audio tower, so it cannot transcribe: use Gemma 4 E2B or E4B"
        )


@dataclass
class _Waiting:
    """A window that is being heard."""

    number: int
    window: Window


@dataclass
class _Read:
    """The end of a recording, some windows of which may still be heard."""

    number: int
    seconds: float
    warnings: list[str]


_Ahead = deque[Opened | Failed | _Waiting | _Read]


def _events(
    recordings: Iterable[AudioSource], listener: Listener, options: Options, longest: int
) -> Iterator[Event]:
    ahead: _Ahead = deque()  # what was read before the model has heard it, in order
    drafts: dict[int, Draft] = {}
    for heard in listener.hear(_windows(recordings, options, longest, ahead)):
        yield from _told(ahead, drafts, options)
        waiting = ahead.popleft()  # the first window is the one that was heard
        assert isinstance(waiting, _Waiting)
        for segment in drafts[waiting.number].add(waiting.window, heard):
            yield Said(waiting.number, segment)
        yield from _told(ahead, drafts, options)
    yield from _told(ahead, drafts, options)


def _told(ahead: _Ahead, drafts: dict[int, Draft], options: Options) -> Iterator[Event]:
    """All that has happened before the first window that is still waiting."""
    while ahead and not isinstance(ahead[0], _Waiting):
        item = ahead.popleft()
        if isinstance(item, Opened):
            drafts[item.number] = Draft(options)
        if isinstance(item, _Read):
            draft = drafts.pop(item.number)
            for segment in draft.rest():
                yield Said(item.number, segment)
            yield Finished(item.number, draft.transcript(item.seconds, item.warnings))
        elif isinstance(item, Opened | Failed):
            yield item


def _windows(
    recordings: Iterable[AudioSource], options: Options, longest: int, ahead: _Ahead
) -> Iterator[Window]:
    """The windows of all recordings, noted in ``ahead`` with all else there is to tell."""
    for number, source in enumerate(recordings):
        try:
            with _opened(source, options) as sound:
                ahead.append(Opened(number, sound.seconds))
                meter = _Meter(sound)
                for window in cut_windows(
                    meter.blocks(),
                    longest,
                    None if options.vad else everything,
                    # Of two translations of a sentence no word need be the same.
                    overlap=options.translate_to is None,
                ):
                    meter.windows += 1
                    ahead.append(_Waiting(number, window))
                    yield window
                ahead.append(_Read(number, meter.seconds, [*sound.notices, *meter.remarks()]))
        except (Gemma4Error, OSError) as error:
            ahead.append(Failed(number, error))


def _opened(source: AudioSource, options: Options) -> Sound:
    if hasattr(source, "blocks"):
        return source
    return open_sound(source, RATE, start=options.start, end=options.end)


class _Meter:
    """Counts the sound that goes by, and the windows that were cut from it."""

    def __init__(self, sound: Sound):
        self._sound = sound
        self._samples = 0
        self._silent = True
        self.windows = 0

    def blocks(self) -> Iterator[np.ndarray]:
        for block in self._sound.blocks():
            self._samples += len(block)
            self._silent = self._silent and not block.any()
            yield block

    @property
    def seconds(self) -> float:
        return self._samples / RATE

    def remarks(self) -> list[str]:
        if self.windows:
            return []
        what = "nothing but silence" if self._silent else "no speech"
        return [f"{self._sound.name}: {what} in {clock(self.seconds)}"]
