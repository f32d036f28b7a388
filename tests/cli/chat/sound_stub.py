"""A ``sounddevice`` whose microphone gives an array, on a clock that nobody has to wait for."""

from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np


class PortAudioError(Exception):
    """As sounddevice's."""


class SoundStub(ModuleType):
    """Stands in for the module; ``sleep`` and ``monotonic`` for those of ``time``.

    ``sound`` is (n,) or (n, channels) at ``rate`` Hz; the device gives nothing after its end.
    Only the pairs of rate and channels in ``takes`` can be opened. ``lost`` is the number of blocks
    marked as following a gap.
    """

    def __init__(self, sound: np.ndarray, rate: int = 16_000, lost: int = 0) -> None:
        super().__init__("sounddevice")
        self.PortAudioError = PortAudioError
        self.sound = sound.reshape(len(sound), -1).astype(np.float32)
        self.rate = rate
        self.takes = {(rate, self.sound.shape[1])}
        self.lost = lost
        self.name = "Stub"
        self.has_input = True
        self.open = self.opened = self.listed = 0
        self.now = 100.0
        self._given = 0
        self._callback: Any = None
        self._began = 0.0

    def query_devices(self, kind: str) -> dict[str, Any]:
        assert kind == "input"
        if not self.has_input:
            raise PortAudioError("Error querying device -1")
        channels = self.sound.shape[1]
        return {
            "name": self.name,
            "default_samplerate": float(self.rate),
            "max_input_channels": channels,
        }

    def InputStream(self, samplerate: float, channels: int, dtype: str, callback: Any) -> Any:
        assert dtype == "float32"
        if (samplerate, channels) not in self.takes:
            raise PortAudioError("Error opening InputStream: Invalid sample rate\n [-9997]")

        def start() -> None:
            self._callback, self._began = callback, self.now
            self.open += 1
            self.opened += 1

        def close(ignore_errors: bool) -> None:
            self._callback = None
            self.open -= 1

        return SimpleNamespace(
            start=start, close=close, abort=lambda ignore_errors: None, latency=0.03
        )

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        until = min(len(self.sound), round((self.now - self._began) * self.rate))
        if self._callback is not None and until > self._given:
            block = self.sound[self._given : until]
            status = SimpleNamespace(input_overflow=self.lost > 0)
            self.lost -= self.lost > 0
            self._given = until
            self._callback(block, len(block), None, status)

    def monotonic(self) -> float:
        return self.now

    def _terminate(self) -> None:
        self.listed -= 1

    def _initialize(self) -> None:
        self.listed += 2
