"""The microphone: the default input, recorded as the model hears it, 16 kHz mono float32.

PortAudio gives the sound (sounddevice, the ``mic`` extra). A device that does not work at 16 kHz is
recorded at its own rate, and soxr resamples what comes. ``record`` waits for the first word and
stops after the last one; whatever was changed, cut or lost on the way is said.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any

import numpy as np

from gemma4_cli.console import _CONTROLS, notice
from gemma4_cli.portaudio import load_sounddevice, quiet, silent
from gemma4_cli.voice_activity import VoiceActivity, decibels
from gemma4_mlx.errors import MediaError

RATE = 16_000

_WAIT = 10.0  # seconds without a word after which nobody seems to speak
_LEAD = 1.0  # seconds kept before the first word
_SHORTEST = 0.1  # seconds that a recording needs
_DEAD = 5.0  # seconds without a sample after which the device is given up
_POLL = 0.05  # seconds between two looks at the keyboard
_METER = 0.1  # seconds over which the level is taken


class Recorder:
    """Records from ``with`` (or ``start``) to its end (``stop``).

    Without ``keep`` what has been taken is forgotten, so that hours need no memory.

    Raises MissingExtraError without the ``mic`` extra, MediaError without PortAudio or a
    microphone, and for one that another program keeps or that stops giving sound.
    """

    def __init__(self, keep: bool = True) -> None:
        self.name = "the microphone"
        self.keep = keep
        self.rate: float = RATE  # of the device, Hz
        self.channels = 1  # of the device
        self.lost = 0  # times that the machine was too busy to take the sound
        self._came: SimpleQueue[tuple[np.ndarray, bool]] = SimpleQueue()
        self._blocks: list[np.ndarray] = []
        self._count = 0
        self._stream: Any = None
        self._resampler: Any = None
        self._last_sign = 0.0

    def __enter__(self) -> "Recorder":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Open the default input and begin."""
        sounddevice = load_sounddevice()
        try:
            device = sounddevice.query_devices(kind="input")
        except (sounddevice.PortAudioError, ValueError):
            raise MediaError(
                "there is no microphone: connect one, or choose one as the input in the "
                "system's sound settings"
            ) from None
        self.name = str(device["name"]).translate(_CONTROLS)
        own, channels = float(device["default_samplerate"]), int(device["max_input_channels"])
        refusal = ""
        for rate, count in dict.fromkeys([(float(RATE), 1), (own, 1), (own, channels)]):
            try:
                with quiet():
                    self._open(sounddevice, rate, count)
                return
            except sounddevice.PortAudioError as error:
                self.stop()
                refusal = " ".join(str(error).split())
        raise MediaError(
            f"the microphone ({self.name}) cannot be opened: {refusal}; end the program that "
            "uses it, or choose another input in the system's sound settings"
        )

    def _open(self, sounddevice: Any, rate: float, channels: int) -> None:
        def take(block: np.ndarray, frames: int, clock: Any, status: Any) -> None:
            self._came.put((block.mean(axis=1), bool(status.input_overflow)))

        if rate != RATE:
            import soxr

            self._resampler = soxr.ResampleStream(rate, RATE, 1, dtype="float32", quality="HQ")
        self._stream = sounddevice.InputStream(
            samplerate=rate, channels=channels, dtype="float32", callback=take
        )
        self._stream.start()
        self.rate, self.channels = rate, channels
        self._last_sign = time.monotonic()

    def stop(self) -> None:
        """Close the device; what was recorded stays."""
        if self._stream is not None:
            stream, self._stream = self._stream, None
            stream.abort(ignore_errors=True)
            stream.close(ignore_errors=True)
        self._resampler = None

    @property
    def seconds(self) -> float:
        """Seconds of sound so far."""
        return self._count / RATE

    @property
    def level(self) -> float:
        """Loudness of the last tenth of a second, RMS in dBFS; −inf when all of it is zero."""
        wanted, newest = round(_METER * RATE), np.zeros(0, np.float32)
        for block in reversed(self._blocks):
            newest = np.concatenate([block, newest])
            if len(newest) >= wanted:
                break
        newest = newest[-wanted:]
        return float(decibels(np.square(newest).mean())) if newest.any() else -np.inf

    def samples(self) -> np.ndarray:
        """Everything so far: (n,) float32 at 16 kHz."""
        return np.concatenate([np.zeros(0, np.float32), *self._blocks])

    def take(self, patience: float) -> np.ndarray:
        """What has come since the last call and comes within ``patience`` seconds."""
        time.sleep(patience)
        taken = []
        with suppress(Empty):
            while True:
                taken.append(self._came.get_nowait())
        if taken:
            self._last_sign = time.monotonic()
        elif time.monotonic() - self._last_sign > _DEAD:
            raise MediaError(
                f"the microphone ({self.name}) gave no sound for {_DEAD:g} s: connect it again, "
                "or choose another input in the system's sound settings"
            )
        self.lost += sum(lost for _, lost in taken)
        sound = np.concatenate([np.zeros(0, np.float32), *(block for block, _ in taken)])
        if self._resampler is not None:
            sound = self._resampler.resample_chunk(sound)
        self._note(sound)
        return sound

    def rest(self) -> np.ndarray:
        """What was spoken before now and is still on its way through the device."""
        until = time.monotonic() + min(float(self._stream.latency), 0.5) + _POLL
        came = [self.take(_POLL)]
        while time.monotonic() < until:
            came.append(self.take(_POLL))
        if self._resampler is not None:
            last = self._resampler.resample_chunk(np.zeros(0, np.float32), last=True)
            self._note(last)
            came.append(last)
        return np.concatenate(came)

    def _note(self, sound: np.ndarray) -> None:
        self._count += len(sound)
        if self.keep and len(sound):
            self._blocks.append(sound)

    def changes(self) -> Iterator[str]:
        """One line for each thing that was done to the sound, or happened to it."""
        if self.channels > 1:
            yield f"{self.name}: {self.channels} channels mixed down to one"
        if self.rate != RATE:
            yield f"{self.name}: resampled from {self.rate:g} Hz to {RATE} Hz"
        if self.lost:
            yield f"the machine was too busy to take all the sound: gaps in it: {self.lost}"


def record(
    silence: float = 1.0,
    limit: float = 30.0,
    tick: Callable[[float, float], bool] = lambda seconds, level: True,
    *,
    wait: float = _WAIT,
    say: Callable[[str], None] = notice,
) -> np.ndarray:
    """Record until ``silence`` seconds have passed after the last word: (n,) float32 at 16 kHz.

    The recording begins a second before the first word, at most ``wait`` seconds of silence may
    come before that, and ``limit`` seconds is the longest there can be. ``tick`` is called about
    20 times a second with the seconds recorded (0 until the first word) and the level in dBFS; the
    recording ends when it returns False, words or not. ``say`` gets a line for all that was
    changed or cut. Raises MissingExtraError and MediaError as ``Recorder`` does, and MediaError
    when nobody speaks or the device gives only silence.
    """
    voice = VoiceActivity()
    with Recorder() as recorder:
        while True:
            voice.add(recorder.take(_POLL))
            seconds = 0.0 if voice.end is None else recorder.seconds - _start(voice)
            if not tick(seconds, recorder.level):
                voice.add(recorder.rest())
                break
            if voice.end is None:
                if recorder.seconds >= min(wait, limit):
                    raise _nobody(recorder)
            elif seconds >= limit or recorder.seconds - voice.end / RATE >= silence:
                break
        samples = recorder.samples()[round(_start(voice) * RATE) :]
    if len(samples) < _SHORTEST * RATE:
        raise MediaError(
            f"the recording has only {len(samples) / RATE:.2f} s: speak first, then press Enter"
        )
    if not samples.any():
        raise silent(recorder.name)
    for change in recorder.changes():
        say(change)
    if len(samples) >= limit * RATE:
        say(f"the recording was ended after {limit:g} s, the longest that the model takes")
    elif voice.end is None:
        say("no words were made out in the recording; it is used as it is")
    return samples[: round(limit * RATE)]


def _start(voice: VoiceActivity) -> float:
    """Seconds of silence before the recording begins."""
    return max(0.0, voice.begin / RATE - _LEAD) if voice.begin is not None else 0.0


def _nobody(recorder: Recorder) -> MediaError:
    samples = recorder.samples()
    if not samples.any():
        return silent(recorder.name)
    level = float(decibels(np.square(samples).mean()))
    return MediaError(
        f"no words in {recorder.seconds:.0f} s, only sound of {level:.0f} dBFS from "
        f"{recorder.name}: speak louder or nearer to it, or turn its level up in the system's "
        "sound settings; with Enter a recording ends and is used as it is"
    )
