"""``gemma4 transcribe --mic``, with a microphone that gives an array on a clock of its own."""

import json
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gemma4_cli import microphone
from tests.cli.chat.sound_stub import SoundStub
from tests.speech.scripted import RATE, noise

Run = Callable[..., Any]


def silence(seconds: float) -> np.ndarray:
    return np.zeros(int(seconds * RATE), np.float32)


@pytest.fixture
def hears(monkeypatch: pytest.MonkeyPatch) -> Callable[..., SoundStub]:
    """Plugs a microphone in; Ctrl-C is pressed after so many seconds each."""

    def plug(sound: np.ndarray, *presses: float, rate: int = RATE) -> SoundStub:
        stub = SoundStub(sound, rate)
        waiting = [stub.now + seconds for seconds in presses]
        sleep = stub.sleep

        def sleep_and_press(seconds: float) -> None:
            sleep(seconds)
            if waiting and stub.now >= waiting[0]:
                waiting.pop(0)
                signal.raise_signal(signal.SIGINT)

        stub.sleep = sleep_and_press  # type: ignore[method-assign]
        monkeypatch.setitem(sys.modules, "sounddevice", stub)
        monkeypatch.setattr(microphone, "time", stub)
        return stub

    return plug


def test_until_ctrl_c(gemma4: Run, says: Run, hears: Run) -> None:
    """The device is opened once, and Ctrl-C is again what it was."""
    stub = hears(np.concatenate([noise(4), silence(3), noise(10)]), 8.0)
    before = signal.getsignal(signal.SIGINT)
    says("one", "two")
    result = gemma4("transcribe", "--mic", "-m", "tiny")
    assert (result.status, result.out) == (0, "one two\n")
    assert result.err == "gemma4: listening to Stub; Ctrl-C ends\n"
    assert (stub.open, stub.opened) == (0, 1)
    assert signal.getsignal(signal.SIGINT) is before


def test_text_comes_while_somebody_speaks(
    gemma4: Run, says: Run, hears: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a pause, and where nobody pauses when a window of twelve seconds follows another."""
    stub = hears(np.concatenate([noise(4), silence(3), noise(60)]), 40.0)
    began, at = stub.now, []
    say = "gemma4_cli.transcribe.text.say"
    monkeypatch.setattr(say, lambda text, end="": at.append((text, stub.now - began)))
    says("one", "two", *["more"] * 9)
    assert gemma4("transcribe", "--mic", "-m", "tiny").status == 0
    assert [text.strip() for text, _ in at][:2] == ["one", "two"]
    assert at[0][1] < 7 and at[1][1] < 7 + 2 * 12


def test_into_files(gemma4: Run, says: Run, hears: Run, tmp_path: Path) -> None:
    hears(noise(9), 3.05)
    says("one")
    result = gemma4("transcribe", "--mic", "-o", tmp_path, "-f", "all", "-m", "tiny")
    assert (result.status, result.out) == (0, "")
    files = sorted(tmp_path.glob("microphone-*"))
    assert [file.suffix for file in files] == [".json", ".srt", ".tsv", ".txt", ".vtt"]
    assert all(re.fullmatch(r"microphone-\d{4}-\d\d-\d\d-\d{6}", file.stem) for file in files)
    answer = json.loads(files[0].read_text())
    assert (answer["file"], answer["text"]) == ("the microphone", "one")
    assert answer["duration"] == pytest.approx(3.2, abs=0.05)  # with what was on its way


def test_what_was_changed_is_said(gemma4: Run, says: Run, hears: Run) -> None:
    hears(noise(5, 48_000), 3.0, rate=48_000)
    says("one")
    assert "resampled from 48000 Hz" in gemma4("transcribe", "--mic", "-m", "tiny").err


def test_nothing_but_zeros_is_an_error_in_the_end(
    gemma4: Run, says: Run, hears: Run, tmp_path: Path
) -> None:
    hears(silence(20), 9.0)
    result = gemma4("transcribe", "--mic", "-o", tmp_path, "-m", "tiny")
    assert result.status == 1 and list(tmp_path.glob("*.txt")) == []
    _, warning, error = result.err.splitlines()
    assert ("Stub" in warning and warning.endswith("silence; listening goes on")) or (
        "gives only silence" in warning and warning.endswith("; listening goes on")
    )
    assert "gives only silence" in error


def test_zeros_before_it_begins(gemma4: Run, says: Run, hears: Run) -> None:
    """As a loopback device gives before the meeting."""
    hears(np.concatenate([silence(9), noise(9)]), 12.0)
    says("one")
    result = gemma4("transcribe", "--mic", "-m", "tiny")
    assert (result.status, result.out) == (0, "one\n")
    assert result.err.count("gives only silence") == 1


def test_a_microphone_that_is_taken_away(
    gemma4: Run, says: Run, hears: Run, tmp_path: Path
) -> None:
    """What was said until then is kept; it did not end as it should have."""
    hears(noise(3))
    says("one")
    result = gemma4("transcribe", "--mic", "-o", tmp_path, "-m", "tiny")
    (file,) = tmp_path.glob("microphone-*.txt")
    assert result.status == 1 and file.read_text() == "one\n"
    assert "gave no sound for 5 s" in result.err


def test_a_second_ctrl_c_leaves_at_once(gemma4: Run, says: Run, hears: Run, tmp_path: Path) -> None:
    hears(noise(9), 3.0, 3.1)
    says("one")
    result = gemma4("transcribe", "--mic", "-o", tmp_path, "-m", "tiny")
    assert result.status == 130 and list(tmp_path.glob("microphone-*")) == []
    assert "stopped at 0:00.0 of the microphone" in result.err and "--resume" not in result.err


def test_no_microphone(gemma4: Run, says: Run, hears: Run) -> None:
    stub = hears(noise(1))
    stub.has_input = False
    result = gemma4("transcribe", "--mic", "-m", "tiny")
    assert result.status == 1 and result.err.startswith("gemma4: there is no microphone")


def test_hours_need_no_memory(gemma4: Run, says: Run, hears: Run) -> None:
    """A recording is kept by who asks for it."""
    hears(noise(3))
    recorder = microphone.Recorder(keep=False)
    with recorder:
        taken = sum(len(recorder.take(0.1)) for _ in range(10))
    assert recorder.samples().size == 0 and taken == 0.1 * 10 * RATE == recorder.seconds * RATE
