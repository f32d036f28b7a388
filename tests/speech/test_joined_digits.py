"""The demo model on long recordings of real voices with known words and gaps."""

import re
from typing import Any

import jiwer
import numpy as np
import pytest

from gemma4_mlx import load, transcribe
from tests.speech.joined_digits import RATE, Joined, joined
from tests.speech.readme_transcript import made, shown


@pytest.fixture(scope="module")
def demo() -> tuple[Any, Any]:
    return load("demo")


def errors(recording: Joined, heard: str) -> float:
    return jiwer.wer(recording.text, heard)


@pytest.mark.slow
def test_words_and_times_of_two_minutes(demo: Any) -> None:
    """Each segment begins where a digit does and ends where one does, to 0.2 s."""
    recording = joined(120, (0.05, 3.0), seed=4)
    found = transcribe(*demo, recording.samples)
    assert errors(recording, found.text) <= 0.04
    starts = np.array([start for _, start, _ in recording.spans])
    ends = np.array([end for _, _, end in recording.spans])
    off_starts = [np.abs(starts - segment.start).min() for segment in found.segments]
    off_ends = [np.abs(ends - segment.end).min() for segment in found.segments]
    assert len(found.segments) > 15 and max(off_starts + off_ends) <= 0.2


@pytest.mark.slow
def test_speech_that_never_pauses_is_joined_without_a_seam(demo: Any) -> None:
    """Two windows share some digits, which come once in the text."""
    recording = joined(55, (0.0, 0.03), seed=7)
    found = transcribe(*demo, recording.samples)
    assert len(found.segments) > 1
    words = len(recording.spans)
    assert errors(recording, found.text) <= 0.12
    assert abs(len(found.text.split()) - words) <= 0.05 * words


@pytest.mark.slow
def test_batches_hear_what_one_window_hears(demo: Any) -> None:
    recording = joined(60, (0.05, 3.0), seed=5)
    alone = transcribe(*demo, recording.samples, batch_size=1)
    together = transcribe(*demo, recording.samples, batch_size=8)
    assert together == alone


def test_what_is_no_speech_gives_no_words(demo: Any) -> None:
    """Silence, hiss, hum, and a melody with its overtones."""
    time = np.arange(20 * RATE) / RATE
    notes = 220 * 2 ** (np.array([0, 4, 7, 12, 7, 4, 0, 5]) / 12)
    tone = notes[(time * 2).astype(int) % len(notes)] * time
    melody = sum(np.sin(2 * np.pi * k * tone) / k for k in range(1, 6)) * 0.1
    hiss = np.random.default_rng(0).normal(0, 0.02, len(time))
    hum = 0.1 * np.sin(2 * np.pi * 50 * time)
    for sound in (np.zeros(len(time)), hiss, hum, melody, melody + hiss):
        found = transcribe(*demo, sound.astype(np.float32))
        assert (found.text, found.segments) == ("", [])


@pytest.mark.slow
def test_readme_shows_what_is_heard() -> None:
    """To a tenth of a second: a detector's sums round differently on other machines."""
    number = r"\d+\.\d"
    found, wanted = made(), shown()
    again = "run python -m tests.speech.readme_transcript"
    assert re.sub(number, "…", found) == re.sub(number, "…", wanted), again
    times = [list(map(float, re.findall(number, text))) for text in (found, wanted)]
    assert np.allclose(*times, atol=0.11), again
