"""Transcripts: windows in order, times, translations, warnings, refusals."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from gemma4_mlx import MediaError, transcribe
from gemma4_mlx.errors import InputError
from gemma4_mlx.generation import stream as stream_module
from gemma4_mlx.processing.processor import Processor
from gemma4_mlx.speech.clock import clock
from gemma4_mlx.speech.transcribe import transcribe_segments
from tests.generation.tiny_model import Script, tiny_model
from tests.generation.tiny_tokenizer import tiny_tokenizer

RATE = 16_000
TOKENIZER = tiny_tokenizer()


@pytest.fixture
def model() -> tuple[Any, Any]:
    return tiny_model("e2b", TOKENIZER)


@pytest.fixture
def says(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[float | None]]:
    """One reply a window; returns the temperatures asked for."""

    def script(*replies: str) -> list[float | None]:
        waiting = iter(replies)
        temperatures: list[float | None] = []

        def make(
            _config: Any, temperature: float | None, *_rest: Any
        ) -> Callable[[mx.array], mx.array]:
            temperatures.append(temperature)
            return Script(TOKENIZER, next(waiting))

        monkeypatch.setattr(stream_module, "make_sampler", make)
        return temperatures

    return script


def noise(seconds: float) -> np.ndarray:
    return np.random.default_rng(1).normal(0, 0.1, int(seconds * RATE)).astype(np.float32)


def test_one_window(model: Any, says: Callable[..., list[float | None]]) -> None:
    temperatures = says(" one two\n three ")
    result = transcribe(*model, noise(1.5), language="en")
    assert result.text == "one two three"
    assert [(s.start, s.end, s.text) for s in result.segments] == [(0.0, 1.5, "one two three")]
    assert (result.language, result.warnings, temperatures) == ("English", [], [0.0])


def test_a_long_recording_in_order(model: Any, says: Callable[..., list[float | None]]) -> None:
    says("first", "", "third")
    heard = []
    result = transcribe(*model, noise(75), on_segment=lambda s, total: heard.append((s, total)))
    assert result.text == "first third"
    assert [s for s, _ in heard] == result.segments and {t for _, t in heard} == {75.0}
    edges = [(s.start, s.end) for s in result.segments]
    assert edges[0][0] == 0 and edges[-1][1] == 75
    assert edges[0][1] == edges[1][0] and edges[1][1] == edges[2][0]


def test_windows_are_what_the_processor_hears_at_once(
    model: Any, says: Callable[..., list[float | None]]
) -> None:
    gemma, processor = model
    settings = replace(processor.settings, audio_seq_length=250)
    says("first", "second")
    result = transcribe(gemma, Processor(TOKENIZER, gemma.config, settings=settings), noise(12))
    assert result.text == "first second" and result.segments[0].end <= 10


def test_segments_come_one_by_one(model: Any, says: Callable[..., list[float | None]]) -> None:
    temperatures = says("first", "second")
    segments = transcribe_segments(*model, noise(40))
    assert next(segments).text == "first"
    assert len(temperatures) == 1  # nothing was done ahead


def test_translation(model: Any, says: Callable[..., list[float | None]]) -> None:
    says("Eins zwei.\nEnglish: One two.", "drei")
    result = transcribe(*model, noise(31), language="German", translate_to="en")
    first, second = result.segments
    assert (first.text, first.source) == ("One two.", "Eins zwei.")
    assert (second.text, second.source) == ("drei", None)
    assert result.text == "One two. drei"
    assert len(result.warnings) == 1 and "translation" in result.warnings[0]


def test_a_text_that_does_not_end(model: Any, says: Callable[..., list[float | None]]) -> None:
    says("one one one one")
    result = transcribe(*model, noise(1), max_tokens=5)
    assert result.warnings == ["0:00.0 to 0:01.0: the text was still going on after 5 tokens"]


def test_what_was_changed_is_said(model: Any, says: Callable[..., list[float | None]]) -> None:
    says("one")
    result = transcribe(*model, (np.zeros((8000, 2), np.float32), 8000))
    assert len(result.warnings) == 2
    assert "2 channels" in result.warnings[0] and "8000 Hz" in result.warnings[1]


def test_refusals(model: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Klingon"):
        transcribe(*model, noise(1), language="Klingon")
    with pytest.raises(MediaError, match="does not exist"):
        transcribe(*model, str(tmp_path / "none.wav"))
    with pytest.raises(InputError, match="no audio tower"):
        transcribe(*tiny_model("31b", TOKENIZER), noise(1))
    with pytest.raises(InputError, match="too short"):
        transcribe(*model, noise(0.005))


@pytest.mark.parametrize("given", [{"language": 5}, {"translate_to": ["de"]}, {"language": ""}])
def test_languages_that_are_none(model: Any, given: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="name or a"):
        transcribe(*model, noise(1), **given)
    with pytest.raises(InputError, match="name or a"):
        transcribe_segments(*model, noise(1), **given)


def test_the_clock() -> None:
    times = [0, 9.96, 59.96, 3599.94, 3723.4]
    assert list(map(clock, times)) == ["0:00.0", "0:10.0", "1:00.0", "59:59.9", "1:02:03.4"]
