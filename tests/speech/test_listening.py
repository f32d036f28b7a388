"""Hearing windows: batches by length, and again where the model went round in circles."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from gemma4_mlx.speech import listening
from gemma4_mlx.speech.batch_size import fitting_batch_size
from gemma4_mlx.speech.listening import Heard, Listener
from gemma4_mlx.speech.windows import Window
from tests.generation.tiny_model import tiny_model
from tests.generation.tiny_tokenizer import tiny_tokenizer
from tests.speech.scripted import RATE, hear, noise

TOKENIZER = tiny_tokenizer()
ROUND = "the " * 60 + "…"  # goes on for ever
SAID_ONCE = "the the"  # where the loop begins, and once round


@pytest.fixture
def says(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[list[int]]]:
    return lambda *replies: hear(monkeypatch, TOKENIZER, iter(replies))


@pytest.fixture
def temperatures(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Those that were asked for, in order."""
    asked: list[float] = []
    monkeypatch.setattr(listening, "make_sampler", lambda _config, t, *_rest: asked.append(t))
    return asked


def listener(**settings: Any) -> Listener:
    return Listener(*tiny_model("e2b", TOKENIZER), "Write it down.", **{"batch_size": 4} | settings)


def windows(*seconds: float) -> list[Window]:
    return [Window(0, noise(length), 0.0, length) for length in seconds]


def test_like_goes_with_like_and_order_stays(says: Any) -> None:
    batches = says("c", "d", "a", "b")  # the two short ones first
    found = listener(batch_size=2).hear(windows(8, 9, 1, 2))
    # The first batch is that of the first windows, so that some text comes soon.
    assert [heard.text for heard in found] == ["c", "d", "a", "b"]
    assert [len(batch) for batch in batches] == [2, 2]
    batches = says(*"abghcdef")
    found = listener(batch_size=2).hear(windows(1, 2, 5, 6, 7, 8, 3, 4))
    assert "".join(heard.text for heard in found) == "abcdefgh"


def test_windows_are_taken_when_they_are_needed(says: Any) -> None:
    says(*"abcdefgh")
    taken = []

    def source() -> Iterator[Window]:
        for window in windows(*[1.0] * 8):
            taken.append(window)
            yield window

    found = listener(batch_size=1).hear(source())
    next(found)
    assert len(taken) == 1


def test_a_loop_is_heard_again_in_halves(says: Any, temperatures: list[float]) -> None:
    batches = says("one", ROUND, "two", "three")
    found = list(listener().hear(windows(3, 4)))
    assert found == [Heard("one"), Heard("two three")]
    assert [len(batch) for batch in batches] == [2, 2] and temperatures == [0.0, 0.0]
    assert all(half < batches[0][1] for half in batches[1])


def test_then_at_rising_temperatures(says: Any, temperatures: list[float]) -> None:
    says(ROUND, "two", ROUND, ROUND, "found at last")
    assert list(listener().hear(windows(4))) == [Heard("found at last")]
    assert temperatures == [0.0, 0.0, 0.4, 0.8]


def test_what_still_fails_is_given_as_far_as_it_goes(says: Any, temperatures: list[float]) -> None:
    says("one two " + ROUND, "x", *[ROUND] * 3)
    (heard,) = listener().hear(windows(4))
    assert heard.incomplete and heard.text.startswith("one two the")
    assert len(heard.text.split()) <= 4


def test_a_loop_costs_no_more_than_it_must(says: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is noticed long before the limit on a reply."""
    lengths = []
    script = says(*[ROUND * 20] * 5)
    rows = listening.generate_rows

    def counted(*args: Any, **settings: Any) -> list[list[int]]:
        replies = rows(*args, **settings)
        lengths.extend((len(ids), settings["limits"][0]) for ids in replies)
        return replies

    monkeypatch.setattr(listening, "generate_rows", counted)
    list(listener().hear(windows(30)))
    assert script and all(length < limit / 3 for length, limit in lengths[:1])


def test_an_endless_reply_is_not_believed(says: Any, temperatures: list[float]) -> None:
    endless = " ".join("abcdefghijklmnopqrstuvwxyz" * 20) + "…"
    says(endless, "one", "two")
    assert [heard.text for heard in listener().hear(windows(4))] == ["one two"]


def test_a_short_window_is_not_halved(says: Any, temperatures: list[float]) -> None:
    says(ROUND, "yes")
    assert list(listener().hear(windows(1.2))) == [Heard("yes")]
    assert temperatures == [0.0, 0.4]


def test_translations_are_not_halved(says: Any, temperatures: list[float]) -> None:
    says(ROUND, "eins\nEnglish: one")
    (heard,) = listener(translates=True).hear(windows(6))
    assert heard.text == "eins\nEnglish: one" and temperatures == [0.0, 0.4]


def test_who_limits_the_text_gets_what_is_within(says: Any, temperatures: list[float]) -> None:
    says("one two three four")
    (heard,) = listener(max_tokens=3).hear(windows(4))
    assert heard.incomplete and temperatures == [0.0]


def test_the_batch_fits_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    from gemma4_mlx.memory import Room
    from gemma4_mlx.speech import batch_size

    model = tiny_model("e2b", TOKENIZER)
    sizes = []
    for nbytes in (10**6, 4 * 10**8, 10**12):
        monkeypatch.setattr(batch_size, "room", lambda nbytes=nbytes: Room(nbytes, "memory"))
        sizes.append(fitting_batch_size(*model))
    assert sizes == sorted(sizes) and sizes[0] == 1 and sizes[-1] == 8


def test_the_sound_of_a_window_is_what_the_model_gets(says: Any) -> None:
    """40 ms a token, whatever else is in the batch."""
    batches = says("a", "b")
    list(listener().hear(windows(1, 3)))
    assert batches[0][1] - batches[0][0] == pytest.approx(2 * RATE / 640, abs=1)
    assert np.diff(batches[0])[0] == 50
