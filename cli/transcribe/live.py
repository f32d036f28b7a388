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
from gemma4_cli.console import clear_status, notice, remark, status
from gemma4_cli.microphone import Recorder
from gemma4_cli.portaudio import silent
from gemma4_cli.transcribe.inputs import Recording
from gemma4_cli.transcribe.outputs import Outputs
from gemma4_cli.transcribe.running import Work, load_hearing
from gemma4_mlx.errors import MediaError
from gemma4_mlx.speech.clock import clock

if TYPE_CHECKING:
    import numpy as np

    from gemma4_mlx.speech.options import Options

_WINDOW = 12.0  # seconds: nobody waits for text longer than that
_POLL = 0.1  # seconds between two looks at the microphone
_DEAF = 5.0  # seconds of nothing but zeros after which the microphone may be none


def listen(asked: "Options", outputs: Outputs, model: str | None, ple: options.PlePlacement) -> int:
    """Transcribe the microphone until Ctrl-C; the exit status."""
    name = time.strftime("microphone-%Y-%m-%d-%H%M%S")
    recording = Recording(Path("microphone"), name, called="the microphone")
    outputs.plan([recording])
    outputs.refuse_to_overwrite(recording)
    gemma, processor = load_hearing(model, ple, asked)
    work = Work(outputs, replace(asked, batch_size=1, window=asked.window or _WINDOW))
    sound = LiveSound()
    work.do([recording], gemma, processor, sound)
    return 1 if sound.lost is not None else work.status


class LiveSound:
    """The microphone as a recording that goes on until Ctrl-C.

    One that is taken away ends it too, and what was said until then is written down.
    """

    name = "the microphone"
    seconds: float | None = None

    def __init__(self) -> None:
        self.lost: MediaError | None = None  # why it ended before Ctrl-C
        self._recorder = Recorder(keep=False)
        self._over = False
        self._heard_something = False
        self._before: object = None

    def __enter__(self) -> Self:
        self._recorder.start()
        self.name = self._recorder.name
        self._before = signal.signal(signal.SIGINT, self._end)
        remark(f"listening to {self.name}; Ctrl-C ends")
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)  # type: ignore[arg-type]
        self._recorder.stop()

    @property
    def notices(self) -> list[str]:
        """What was done to the sound, and what happened to it."""
        return [*self._recorder.changes(), *([str(self.lost)] if self.lost else [])]

    def blocks(self) -> "Iterator[np.ndarray]":
        """Samples (n,) float32 at 16 kHz as they come. MediaError when all of them are zero."""
        warned = False
        try:
            while not self._over:
                yield self._noted(self._recorder.take(_POLL))
                if not (warned or self._heard_something) and self._recorder.seconds > _DEAF:
                    # It may be right: what shall be heard has not begun.
                    notice(f"{silent(self.name)}; listening goes on")
                    warned = True
                status(f"listening: {clock(self._recorder.seconds)}")
            status("writing down the rest")
            yield self._noted(self._recorder.rest())
        except MediaError as error:
            if not self._heard_something:
                raise
            self.lost = error
        if not self._heard_something:
            raise silent(self.name)
        clear_status()

    def _noted(self, block: "np.ndarray") -> "np.ndarray":
        self._heard_something = self._heard_something or bool(block.any())
        return block

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        if self._over:
            raise KeyboardInterrupt
        self._over = True
