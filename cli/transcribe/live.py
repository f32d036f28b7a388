"""``gemma4 transcribe --mic``: what is said now, in text a moment later.

The first Ctrl-C ends the recording, and what was said until then is still written down; a second
one leaves at once.
"""

import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Self

from gemma4_cli import options
from gemma4_cli.console import clear_status, remark, status
from gemma4_cli.microphone import Recorder
from gemma4_cli.portaudio import silent
from gemma4_cli.transcribe.inputs import Recording
from gemma4_cli.transcribe.outputs import Outputs
from gemma4_cli.transcribe.running import Work, load_hearing
from gemma4_mlx.speech.clock import clock

if TYPE_CHECKING:
    import numpy as np

    from gemma4_mlx.speech.options import Options

_WINDOW = 12.0  # seconds: nobody waits for text longer than that
_POLL = 0.1  # seconds between two looks at the microphone
_DEAF = 5.0  # seconds of nothing but zeros after which the microphone is no microphone


def listen(
    asked: "Options", outputs: Outputs, model: str | None, ple: options.PlePlacement
) -> int:
    """Transcribe the microphone until Ctrl-C; the exit status."""
    recording = Recording(Path("microphone"), time.strftime("microphone-%Y-%m-%d-%H%M%S"))
    outputs.plan([recording])
    outputs.refuse_to_overwrite(recording)
    gemma, processor = load_hearing(model, ple)
    asked = replace(asked, batch_size=1, window=asked.window or _WINDOW)
    with LiveSound() as sound:
        remark(f"listening to {sound.name}; Ctrl-C ends")
        failed = Work([recording], outputs, several=False).do(gemma, processor, asked, [sound])
    return 1 if failed else 0


class LiveSound:
    """The microphone as a recording that goes on until Ctrl-C."""

    name = "the microphone"
    seconds = None

    def __init__(self) -> None:
        self._recorder = Recorder()
        self._over = False
        self._before: object = None

    def __enter__(self) -> Self:
        self._recorder.start()
        self.name = self._recorder.name
        self._before = signal.signal(signal.SIGINT, self._end)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)  # type: ignore[arg-type]
        self._recorder.stop()

    @property
    def notices(self) -> list[str]:
        """What was done to the sound."""
        return list(self._recorder.changes())

    def blocks(self) -> "Iterator[np.ndarray]":
        """Samples (n,) float32 at 16 kHz as they come."""
        heard_something = False
        while not self._over:
            block = self._recorder.take(_POLL)
            heard_something = heard_something or bool(block.any())
            if not heard_something and self._recorder.seconds > _DEAF:
                raise silent(self.name)
            status(f"listening: {clock(self._recorder.seconds)}")
            yield block
        clear_status()
        yield self._recorder.rest()

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        if self._over:
            raise KeyboardInterrupt
        self._over = True
