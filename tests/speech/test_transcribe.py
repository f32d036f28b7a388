"""Transcripts: segments in order, times, translations, warnings, several recordings, refusals."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from gemma4_mlx import MediaError, transcribe
from gemma4_mlx.errors import InputError
from gemma4_mlx.processing.processor import Processor
from gemma4_mlx.speech.clock import clock
from gemma4_mlx.speech.events import Failed, Finished, Opened, Said
from gemma4_mlx.speech.options import Options
from gemma4_mlx.speech.recordings import transcribe_all
from gemma4_mlx.speech.transcribe import transcribe_segments
from tests.generation.tiny_model import tiny_model
from tests.generation.tiny_tokenizer import tiny_tokenizer
from tests.speech.scripted import RATE, hear, noise

TOKENIZER = tiny_tokenizer()


@pytest.fixture
def model() -> tuple[Any, Any]:
    return tiny_model("e2b", TOKENIZER)


@pytest.fixture
def says(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[list[int]]]:
    """The replies to come, a window each; returns the batches asked for."""
    return lambda *replies: hear(monkeypatch, TOKENIZER, iter(replies))


def talk(*seconds: float, pause: float = 2.0) -> np.ndarray:
    """Speech of these lengths with pauses between."""
    gap = np.zeros(int(pause * RATE), np.float32)
    parts = [part for length in seconds for part in (gap, noise(length))]
    return np.concatenate(parts[1:])


def test_one_window(model: Any, says: Any) -> None:
    says(" one two\n three ")
    result = transcribe(*model, noise(1.5), language="en")
    assert result.text == "one two three"
    (segment,) = result.segments
    assert (segment.start, segment.text) == (0.0, "one two three")
    assert segment.end == pytest.approx(1.5, abs=0.02)
    assert (result.language, result.warnings, result.seconds) == ("English", [], 1.5)


def test_a_long_recording_in_order(model: Any, says: Any) -> None:
    """Windows are heard by length and given in order; those without words are no segments."""
    says("second", "", "first")  # of 2, 4 and 6 seconds
    heard = []
    samples = talk(6, 2, 4)
    result = transcribe(*model, samples, on_segment=lambda s, total: heard.append((s.text, total)))
    assert result.text == "first second"
    assert [(s.text, round(s.start), round(s.end)) for s in result.segments] == [
        ("first", 0, 6),
        ("second", 8, 10),
    ]
    assert heard == [("first", 16.0), ("second", 16.0), ("", 16.0)]


def test_windows_are_what_the_processor_hears_at_once(model: Any, says: Any) -> None:
    gemma, processor = model
    settings = replace(processor.settings, audio_seq_length=250)
    says("first", "second")
    short = Processor(TOKENIZER, gemma.config, settings=settings)
    result = transcribe(gemma, short, noise(12))
    assert len(result.segments) == 2 and result.segments[0].end <= 10


def test_batches(model: Any, says: Any) -> None:
    batches = says(*["x"] * 11)
    assert transcribe(*model, talk(*[2] * 11), batch_size=3).text == " ".join("x" * 11)
    assert [len(batch) for batch in batches] == [3, 3, 3, 2]


def test_segments_come_one_by_one(model: Any, says: Any) -> None:
    batches = says("first", "second", "third")
    segments = transcribe_segments(*model, talk(2, 2, 2), batch_size=1)
    assert next(segments).text == "first"
    assert len(batches) == 1  # nothing was done ahead
    assert [segment.text for segment in segments] == ["second", "third"]


def test_speech_without_a_pause_is_joined(model: Any, says: Any) -> None:
    # The windows are heard shortest first: that of the end, then that of the beginning.
    says("six seven eight nine ten", "one two three four five six seven ei")
    result = transcribe(*model, noise(50))
    assert result.text == "one two three four five six seven eight nine ten"
    first, second = result.segments
    assert first.end == pytest.approx(second.start) and result.warnings == []


def test_texts_that_do_not_meet_are_said(model: Any, says: Any) -> None:
    says("alpha beta gamma delta", "one two three four five six seven eight")
    result = transcribe(*model, noise(50))
    assert len(result.warnings) == 1 and "do not meet" in result.warnings[0]


def test_translation(model: Any, says: Any) -> None:
    says("drei", "Eins zwei.\nEnglish: One two.")
    result = transcribe(*model, talk(5, 3), language="German", translate_to="en")
    first, second = result.segments
    assert (first.text, first.source) == ("One two.", "Eins zwei.")
    assert (second.text, second.source) == ("drei", None)
    assert (result.text, result.translate_to) == ("One two. drei", "English")
    assert len(result.warnings) == 1 and "translation" in result.warnings[0]


def test_translations_share_no_sound(model: Any, says: Any) -> None:
    says("a\nEnglish: one two", "b\nEnglish: two three")
    result = transcribe(*model, noise(45), translate_to="en")
    assert sorted(result.text.split()) == ["one", "three", "two", "two"] and not result.warnings


def test_a_limit_that_is_reached(model: Any, says: Any) -> None:
    says("one one one one")
    result = transcribe(*model, noise(1), max_tokens=5)
    assert result.segments[0].incomplete and not result.is_complete
    assert result.warnings == [
        "0:00.0 to 0:01.0: the model did not come to an end; words are missing here"
    ]


def test_what_was_changed_is_said(model: Any, says: Any) -> None:
    says("one")
    stereo = np.stack([noise(1, 8000)] * 2, axis=1)
    result = transcribe(*model, (stereo, 8000))
    assert len(result.warnings) == 2
    assert "2 channels" in result.warnings[0] and "8000 Hz" in result.warnings[1]


def test_nothing_said(model: Any, says: Any) -> None:
    batches = says()
    silent = transcribe(*model, np.zeros(3 * RATE, np.float32))
    hiss = transcribe(*model, noise(3) * 0.01)
    assert (silent.text, silent.segments, hiss.text, batches) == ("", [], "", [])
    assert "nothing but silence in 0:03.0" in silent.warnings[0]
    assert "no speech in 0:03.0" in hiss.warnings[0]


def test_without_the_detector_everything_is_heard(model: Any, says: Any) -> None:
    says("hum")
    assert transcribe(*model, noise(3) * 0.01, vad=False).text == "hum"


def test_a_part_of_a_recording(model: Any, says: Any) -> None:
    says("two")
    result = transcribe(*model, talk(2, 3, 4), start=3.5, end=8)
    assert [(s.text, round(s.start, 1), round(s.end, 1)) for s in result.segments] == [
        ("two", 4.0, 7.0)
    ]
    assert result.seconds == 4.5


def test_many_recordings_share_batches(model: Any, says: Any, tmp_path: Path) -> None:
    paths: list[Any] = []
    for number, samples in enumerate((talk(2), talk(3, 3.5), talk(4))):
        paths.append(tmp_path / f"{number}.wav")
        soundfile.write(paths[-1], samples, RATE)
    bad = tmp_path / "bad.wav"
    bad.write_text("no recording")
    paths[1:1] = [bad, tmp_path / "none.wav"]
    batches = says("a", "b", "c", "d")
    events = list(transcribe_all(*model, paths, Options(batch_size=4)))
    assert [len(batch) for batch in batches] == [4]
    told = [
        (event.number, event.segment.text if isinstance(event, Said) else type(event).__name__)
        for event in events
    ]
    assert told == [
        *[(0, "Opened"), (0, "a"), (0, "Finished")],
        *[(1, "Failed"), (2, "Failed")],
        *[(3, "Opened"), (3, "b"), (3, "c"), (3, "Finished")],
        *[(4, "Opened"), (4, "d"), (4, "Finished")],
    ]
    failures = [event for event in events if isinstance(event, Failed)]
    assert all(isinstance(failure.error, MediaError) for failure in failures)
    texts = [event.transcript.text for event in events if isinstance(event, Finished)]
    assert texts == ["a", "b c", "d"]
    assert [event.seconds for event in events if isinstance(event, Opened)] == [2, 8.5, 4]


def test_refusals(model: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Klingon"):
        transcribe(*model, noise(1), language="Klingon")
    with pytest.raises(MediaError, match="does not exist"):
        transcribe(*model, str(tmp_path / "none.wav"))
    with pytest.raises(MediaError, match="zero samples"):
        transcribe(*model, np.zeros(0, np.float32))
    with pytest.raises(InputError, match="no audio tower"):
        transcribe(*tiny_model("31b", TOKENIZER), noise(1))


@pytest.mark.parametrize(
    "given",
    [{"batch_size": 0}, {"window": 0.5}, {"max_tokens": 0}, {"start": -1}, {"start": 2, "end": 1}],
)
def test_settings_out_of_range(model: Any, given: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        transcribe(*model, noise(1), **given)


@pytest.mark.parametrize("given", [{"language": 5}, {"translate_to": ["de"]}, {"language": ""}])
def test_languages_that_are_none(model: Any, given: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="name or a"):
        transcribe(*model, noise(1), **given)
    with pytest.raises(InputError, match="name or a"):
        transcribe_segments(*model, noise(1), **given)


def test_the_clock() -> None:
    times = [0, 9.96, 59.96, 3599.94, 3723.4]
    assert list(map(clock, times)) == ["0:00.0", "0:10.0", "1:00.0", "59:59.9", "1:02:03.4"]
