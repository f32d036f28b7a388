"""Speaking in a terminal: keys, the meter, and the terminal put back as it was.

The program runs in a pseudo-terminal. Its microphone is a stub that hisses, so that nothing ends a
recording but what the test does; with PulseAudio it is a real device.
"""

import io
import json
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pexpect
import pyte
import pytest
import soundfile

from gemma4_cli.chat import talk as talk_module
from gemma4_cli.chat.talk import meter_line, talk
from gemma4_mlx.errors import MediaError
from tests.cli.chat.pulse import needs_pulse, placed, software_microphone

Start = Callable[..., pexpect.spawn]

# Says whether the terminal is as it was, and what came of it.
_PROGRAM = """\
import json, sys, termios
from pathlib import Path
import numpy as np
from gemma4_cli.chat.talk import talk
from gemma4_cli.console import complain
from gemma4_mlx.errors import Gemma4Error

before = termios.tcgetattr(0)
heard = None
try:
    heard = talk(float(sys.argv[2]))
except Gemma4Error as error:
    complain(str(error))
except ZeroDivisionError as error:
    print("raised")
if heard is not None:
    np.save(sys.argv[1] + ".npy", heard)
seconds = None if heard is None else len(heard) / 16000
restored = termios.tcgetattr(0) == before
Path(sys.argv[1]).write_text(json.dumps({"seconds": seconds, "restored": restored}))
print("over")
"""

# The microphone of a stub: noise, at the speed of the clock on the wall.
_HISS = """\
import threading, time
from types import SimpleNamespace
import numpy as np

class PortAudioError(Exception): pass
def _terminate(): pass
def _initialize(): pass
def query_devices(kind):
    return {"name": "Hiss", "default_samplerate": 16000.0, "max_input_channels": 1}

class InputStream:
    latency = 0.01
    def __init__(self, callback, **settings): self.callback, self.running = callback, True
    def start(self): threading.Thread(target=self._run, daemon=True).start()
    def abort(self, ignore_errors): self.running = False
    def close(self, ignore_errors): self.running = False
    def _run(self):
        random, began, given = np.random.default_rng(0), time.monotonic(), 0
        while self.running:
            time.sleep(0.02)
            count = int((time.monotonic() - began) * 16000) - given
            given += count
            block = random.normal(0, LEVEL, (count, 1)).astype(np.float32)
            self.callback(block, count, None, SimpleNamespace(input_overflow=False))
"""


@pytest.fixture
def outcome(tmp_path: Path) -> Path:
    return tmp_path / "outcome.json"


@pytest.fixture
def start(tmp_path: Path, outcome: Path) -> Start:
    """Starts ``talk`` in a terminal with the stub for a microphone."""

    def spawn(
        columns: int = 80,
        limit: float = 30,
        level: float = 0.01,
        more: str = "",
        environment: dict[str, str] | None = None,
    ) -> pexpect.spawn:
        (tmp_path / "sounddevice.py").write_text(_HISS.replace("LEVEL", str(level)) + more)
        environment = environment or {**os.environ, "PYTHONPATH": str(tmp_path)}
        return pexpect.spawn(
            *(sys.executable, ["-c", _PROGRAM, str(outcome), str(limit)]),
            env=environment,
            dimensions=(24, columns),
            timeout=30,
            encoding="utf-8",
        )

    return spawn


def screen(run: pexpect.spawn, columns: int) -> list[str]:
    """What the terminal shows after everything before ``over``, line by line."""
    shown = pyte.Screen(columns, 24)
    pyte.Stream(shown).feed(run.before)
    return [line.rstrip() for line in shown.display if line.strip()]


def test_enter_ends_it_and_leaves_no_trace(start: Start, outcome: Path) -> None:
    run = start()
    run.expect("speak")
    run.send("xyz \x1b[A")  # other keys are neither shown nor heard
    run.expect("█·")
    run.send("\r")
    run.expect("over")
    assert screen(run, 80) == ["no words were made out in the recording; it is used as it is"]
    found = json.loads(outcome.read_text())
    assert found["restored"] and 0.1 <= found["seconds"] < 10


def test_keys_from_before_do_not_end_it(start: Start, outcome: Path) -> None:
    run = start(more="\nimport time; time.sleep(0.5)\n")
    run.send("\r\r")
    run.expect("speak")
    run.expect("█·")
    assert not outcome.exists()
    run.send("\r")
    run.expect("over")
    assert json.loads(outcome.read_text())["restored"]


def test_ctrl_c_cancels(start: Start, outcome: Path) -> None:
    run = start()
    run.expect("speak")
    run.sendintr()
    run.expect("over")
    assert screen(run, 80) == []
    assert json.loads(outcome.read_text()) == {"seconds": None, "restored": True}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("\ndef query_devices(kind): raise PortAudioError()\n", "there is no microphone"),
        ("\nclass InputStream:\n    def __init__(self, **_): 1 / 0\n", "raised"),
        ("\nInputStream._run = lambda self: None\n", "gave no sound for 5 s"),
    ],
)
def test_the_terminal_is_put_back_after_an_error(
    start: Start, outcome: Path, more: str, message: str
) -> None:
    run = start(more=more, columns=100)
    run.expect("over")
    lines = screen(run, 100)
    assert message in lines[0]
    assert json.loads(outcome.read_text()) == {"seconds": None, "restored": True}


def test_only_silence(start: Start, outcome: Path) -> None:
    run = start(level=0)
    run.expect("no sound")
    run.send("\n")
    run.expect("gives only silence")
    run.expect("over")
    assert json.loads(outcome.read_text())["restored"]


@pytest.mark.parametrize("columns", [5, 20, 41, 200])
def test_one_line_whatever_the_width(start: Start, outcome: Path, columns: int) -> None:
    run = start(columns=columns)
    for _ in range(5):
        run.expect("\r.+?\r")
    shown = pyte.Screen(columns, 24)
    pyte.Stream(shown).feed(run.before + run.after)
    assert [line[:3] for line in shown.display if line.strip()] == ["○ s"]
    run.send("\r")
    run.expect("over")
    assert json.loads(outcome.read_text())["seconds"] > 0


def test_a_terminal_that_knows_no_unicode(start: Start, outcome: Path) -> None:
    run = start(more="\nimport sys; sys.stderr.reconfigure(encoding='ascii')\n", columns=60)
    run.expect(r"o speak +#+\.+")
    run.send("\r")
    run.expect("over")
    assert json.loads(outcome.read_text())["restored"]


def test_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    with pytest.raises(MediaError, match=r"needs a terminal.*--audio PATH"):
        talk(30)


def test_nothing_is_drawn_into_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    meter = talk_module.Meter(30)
    meter.draw(1.0, -20.0)
    meter.clear()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("seconds", [0.0, 1.26, 129.99])
@pytest.mark.parametrize("level", [-math.inf, -30.0, 3.0])
def test_the_line_fits(seconds: float, level: float) -> None:
    for columns in range(120):
        line = meter_line(seconds, level, 30, columns)
        assert min(columns, 19) <= len(line) <= columns


def test_the_line() -> None:
    assert meter_line(0, -math.inf, 30, 19) == "○ no sound ········"
    assert meter_line(0, -30, 30, 19) == "○ speak    ████····"
    assert meter_line(3.26, 0, 30, 19) == "● 3.3 s    ████████"
    wide = meter_line(12.3, -60, 30, 99)
    assert wide == f"● 12.3 s   {'·' * 30}  Enter ends, Ctrl-C cancels, at most 30 s"
    assert meter_line(1, -60, 30, 60).endswith("·  Enter ends, Ctrl-C cancels")


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_colours_are_a_choice(start: Start, tmp_path: Path, no_color: str, coloured: bool) -> None:
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "NO_COLOR": no_color}
    run = start(environment={**environment, "TERM": "xterm"})
    run.expect("speak")
    run.send("\r")
    run.expect("over")
    assert ("\x1b[" in run.before) == coloured


@needs_pulse
def test_words_spoken_into_a_real_device(start: Start, outcome: Path, repository: Path) -> None:
    file = repository / "notebooks/demo_model/digits.wav"
    with software_microphone() as device:
        run = start(environment=device.environment)
        run.expect("no sound")
        device.play(file)
        run.expect(r"● \d\.\d s")
        run.expect("over", timeout=60)
    assert screen(run, 80) == []
    assert json.loads(outcome.read_text())["restored"]
    heard = np.load(f"{outcome}.npy")
    digits = soundfile.read(file, dtype="float32")[0]
    assert heard.dtype == np.float32 and 4.2 + 0.9 < len(heard) / 16_000 < 4.6 + 2.1
    assert placed(heard, digits)[1] > 0.99


@needs_pulse
def test_the_limit_is_said(start: Start, outcome: Path, repository: Path) -> None:
    with software_microphone() as device:
        run = start(environment=device.environment, limit=2.5, columns=100)
        run.expect("no sound")
        device.play(repository / "notebooks/demo_model/digits.wav")
        run.expect("over", timeout=60)
    assert screen(run, 100) == [
        "the recording was ended after 2.5 s, the longest that the model takes"
    ]
    assert json.loads(outcome.read_text()) == {"seconds": 2.5, "restored": True}
