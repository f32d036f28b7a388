"""The demo model on long recordings of real voices with known words and gaps."""

import re
from typing import Any

import jiwer
import numpy as np
import pytest

from gemma4_mlx import Transcript, load, transcribe
from gemma4_mlx.speech.windows import cut_windows
from tests.speech.joined_digits import RATE, Joined, joined
from tests.speech.readme_transcript import made, shown


@pytest.fixture(scope="module")
def demo() -> tuple[Any, Any]:
    return load("demo")


def errors(recording: Joined, heard: str) -> float:
    return jiwer.wer(recording.text, heard)


@pytest.fixture(scope="module")
def minute() -> Joined:
    return joined(60, (0.05, 3.0), seed=5)


@pytest.fixture(scope="module")
def heard(demo: Any, minute: Joined) -> Transcript:
    return transcribe(*demo, minute.samples, batch_size=8)


@pytest.mark.slow
def test_words_and_times_of_a_minute(minute: Joined, heard: Transcript) -> None:
    """Each segment begins where a digit does and ends where one does, to 0.2 s."""
    assert errors(minute, heard.text) <= 0.04
    starts = np.array([start for _, start, _ in minute.spans])
    ends = np.array([end for _, _, end in minute.spans])
    off_starts = [np.abs(starts - segment.start).min() for segment in heard.segments]
    off_ends = [np.abs(ends - segment.end).min() for segment in heard.segments]
    assert len(heard.segments) > 10 and max(off_starts + off_ends) <= 0.2


@pytest.mark.parametrize("seed", range(4))
def test_every_digit_is_in_a_window_and_times_are_right(seed: int) -> None:
    """More of them, without the model: cutting alone is quick."""
    recording = joined(180, (0.05, 3.0), seed=seed)
    windows = list(cut_windows(iter([recording.samples]), 30 * RATE))
    reach = [(w.first / RATE, w.first / RATE + w.seconds, w) for w in windows]
    for word, start, end in recording.spans:
        assert any(a <= start + 0.05 and end - 0.05 <= b for a, b, _ in reach), (word, start)
    starts = np.array([start for _, start, _ in recording.spans])
    ends = np.array([end for _, _, end in recording.spans])
    off = [np.abs(starts - window.start).min() for window in windows]
    off += [np.abs(ends - window.end).min() for window in windows]
    assert len(windows) > 40 and max(off) <= 0.2


@pytest.mark.slow
def test_batches_hear_what_one_window_hears(demo: Any, minute: Joined, heard: Transcript) -> None:
    assert transcribe(*demo, minute.samples, batch_size=1) == heard


@pytest.mark.slow
def test_speech_that_never_pauses_is_joined_without_a_seam(demo: Any) -> None:
    """Two windows share some digits, which come once in the text."""
    recording = joined(45, (0.12, 0.22), seed=7)
    found = transcribe(*demo, recording.samples)
    assert len(found.segments) > 1
    words = len(recording.spans)
    assert errors(recording, found.text) <= 0.12
    assert abs(len(found.text.split()) - words) <= 0.05 * words


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
