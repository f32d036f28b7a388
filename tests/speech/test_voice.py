"""Spans of speech from chances, and Silero's detector on quiet voices."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from gemma4_mlx.speech.voice import FRAME, SpeechSpans, silero


def spans(*chances: float) -> list[tuple[int, int]]:
    speech = SpeechSpans()
    for chance in chances:
        speech.add(chance)
    return [(span.first, span.last) for span in speech.spans]


def test_speech_begins_high_and_ends_low() -> None:
    assert spans(0.1, 0.4, 0.9, 0.4, 0.35, 0.2, 0.4, 0.1) == [(2, 5)]


def test_one_frame_is_a_click() -> None:
    assert spans(0, 0.9, 0, 0, 0, 0, 0.9, 0.9, 0) == [(6, 8)]


def test_one_sure_frame_after_likely_ones_is_a_word() -> None:
    """A "six" of 140 ms, as Silero hears it."""
    assert spans(0.04, 0.38, 0.16, 0.19, 0.99, 0.09, 0.04) == [(4, 5)]


def test_a_short_gap_lies_within_a_word() -> None:
    assert spans(0.9, 0.9, 0, 0, 0, 0.9, 0.9, 0) == [(0, 7)]
    assert spans(0.9, 0.9, 0, 0, 0, 0, 0.9, 0.9, 0) == [(0, 2), (6, 8)]


def test_speech_that_goes_on_is_known() -> None:
    assert spans(0, 0.9, 0.9) == [(1, 3)]


@pytest.mark.parametrize("gain", [1.0, 0.1, 0.01])
def test_a_quiet_voice_is_a_voice(repository: Path, gain: float) -> None:
    samples = soundfile.read(repository / "notebooks/demo_model/digits.wav", dtype="float32")[0]
    detector, speech = silero(), SpeechSpans()
    quiet = samples * np.float32(gain)
    for start in range(0, len(quiet) - FRAME, FRAME):
        speech.add(detector(quiet[start : start + FRAME]))
    found = sum(span.last - span.first for span in speech.spans)
    assert found * FRAME / 16_000 == pytest.approx(3.5, abs=0.5)


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")
def test_the_detector_starts_no_threads() -> None:
    """Four that wait for each other took ten times as long, 2 ms for 32 ms of sound.

    In a process of its own: where torch was loaded before, its OpenMP answers, without a limit.
    """
    command = [sys.executable, "-c", _COUNTED]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert after == before


_COUNTED = """
import os
import numpy as np
from gemma4_mlx.speech.voice import FRAME, silero
detector = silero()
before = len(os.listdir("/proc/self/task"))
detector(np.zeros(FRAME, np.float32))
print(before, len(os.listdir("/proc/self/task")))
"""
