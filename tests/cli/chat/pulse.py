"""A microphone made of software: whatever is played into a private PulseAudio is what it hears.

The daemon has one sink that leads nowhere; the sink's monitor is the default source, and ALSA's
default device, which PortAudio opens, is PulseAudio. Nothing of it touches the machine's own sound.
"""

import importlib.util
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes.util import find_library
from pathlib import Path

import numpy as np
import pytest

_DAEMON = """\
load-module module-native-protocol-unix socket={folder}/native auth-anonymous=1
load-module module-null-sink sink_name=room rate={rate} channels={channels}
set-default-sink room
set-default-source room.monitor
"""
_ALSA = "pcm.!default { type pulse }\nctl.!default { type pulse }\n"
_READY = 20.0  # seconds that the daemon may take


def missing() -> list[str]:
    """What has to be installed before ``software_microphone`` works; empty when nothing has."""
    programs = ("pulseaudio", "pactl", "paplay", "parec")
    lacking = ["pulseaudio"] if not all(map(shutil.which, programs)) else []
    if not find_library("portaudio"):
        lacking.append("libportaudio2")
    if not _alsa_plugin():
        lacking.append("libasound2-plugins")
    if importlib.util.find_spec("sounddevice") is None:
        lacking.append("sounddevice (the mic extra)")
    return lacking


def _alsa_plugin() -> bool:
    folders = [Path(root) for root in ("/usr/lib", "/usr/lib64", "/lib")]
    name = "alsa-lib/libasound_module_pcm_pulse.so"
    return any(
        next(folder.glob(f"{depth}{name}"), None) for folder in folders for depth in ("", "*/")
    )


needs_pulse = pytest.mark.skipif(
    bool(missing()), reason=f"a microphone made of software needs {', '.join(missing())}"
)


class Microphone:
    """``environment`` makes a program hear what ``play`` plays."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment
        self._playing: list[subprocess.Popen[bytes]] = []

    def play(self, recording: Path) -> None:
        """Play a wav file; returns at once."""
        command = ["paplay", "--latency-msec=100", str(recording)]
        self._playing.append(subprocess.Popen(command, env=self.environment))

    def wait(self) -> None:
        """Until all of it has been played."""
        for player in self._playing:
            assert player.wait(60) == 0, player.args
        self._playing.clear()

    def stop(self) -> None:
        """Be quiet at once."""
        for player in self._playing:
            player.kill()
            player.wait()
        self._playing.clear()


@contextmanager
def software_microphone(rate: int = 16_000, channels: int = 1) -> Iterator[Microphone]:
    """A daemon of its own, gone at the end; PortAudio finds its monitor as the default input."""
    with tempfile.TemporaryDirectory(prefix="pulse") as name:  # a socket's path must be short
        folder = Path(name)
        (folder / "daemon.pa").write_text(
            _DAEMON.format(folder=folder, rate=rate, channels=channels)
        )
        (folder / "asound.conf").write_text(_ALSA)
        environment = {
            **os.environ,
            "HOME": name,
            "XDG_RUNTIME_DIR": name,
            "PULSE_RUNTIME_PATH": name,
            "PULSE_STATE_PATH": name,
            "PULSE_SERVER": f"unix:{folder}/native",
            "ALSA_CONFIG_PATH": str(folder / "asound.conf"),
        }
        daemon = subprocess.Popen(
            [
                *("pulseaudio", "-n", "-F", str(folder / "daemon.pa"), "--daemonize=no"),
                *("--exit-idle-time=-1", "--use-pid-file=no", "--disable-shm=yes"),
                f"--log-target=file:{folder}/log",
            ],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        microphone = Microphone(environment)
        try:
            _until(lambda: _serves(environment), daemon, folder / "log")
            # A sink that nobody listens to works in steps of two seconds; this one always listens.
            with (folder / "heard").open("wb") as heard:
                command = ["parec", "--latency-msec=20", "--rate=8000", "--channels=1"]
                listener = subprocess.Popen(command, env=environment, stdout=heard)
            try:
                _until(lambda: (folder / "heard").stat().st_size > 0, daemon, folder / "log")
                yield microphone
            finally:
                microphone.stop()
                listener.kill()
                listener.wait()
        finally:
            daemon.terminate()
            daemon.wait(10)


def _serves(environment: dict[str, str]) -> bool:
    asked = subprocess.run(["pactl", "info"], env=environment, capture_output=True, text=True)
    return "Default Source: room.monitor" in asked.stdout


def _until(done: Callable[[], bool], daemon: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + _READY
    while time.monotonic() < until and daemon.poll() is None:
        if done():
            return
        time.sleep(0.1)
    told = log.read_text() if log.exists() else "it wrote no log"
    raise RuntimeError(f"pulseaudio did not start within {_READY:g} s: {told}")


def placed(samples: np.ndarray, played: np.ndarray) -> tuple[int, float]:
    """Where in ``samples`` ``played`` is, and how well it correlates there."""
    size = 2 ** (len(samples) + len(played)).bit_length()
    products = np.fft.rfft(samples, size) * np.conj(np.fft.rfft(played, size))
    start = int(np.fft.irfft(products)[: len(samples)].argmax())
    part = samples[start : start + len(played)]
    return start, float(np.corrcoef(part, played[: len(part)])[0, 1])
