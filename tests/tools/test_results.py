"""Results as JSON text: what is not JSON is refused, what is too long is cut and says so."""

import json
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any

import pytest

from gemma4_mlx.errors import InputError
from gemma4_mlx.tools import result_text


class Level(IntEnum):
    HIGH = 3


class Colour(Enum):
    RED = "red"


@dataclass
class Point:
    x: int


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("noon", "noon"),
        ('so "groß"\n“尺”', 'so "groß"\n“尺”'),
        (1.5, "1.5"),
        (True, "true"),
        (None, "null"),
        ({"a": [1, (2, 3)], 2024: {}}, '{"a": [1, [2, 3]], "2024": {}}'),
        (Level.HIGH, "3"),
        ("file\udc80", "file\ufffd"),
        (["file\udc80"], '["file\\udc80"]'),
    ],
)
def test_json_data(value: Any, text: str) -> None:
    assert result_text(value, 100) == (text, None)
    text.encode("utf-8")


def circle() -> list[Any]:
    round_: list[Any] = []
    round_.append(round_)
    return round_


def deep() -> list[Any]:
    inner: list[Any] = []
    for _ in range(100_000):
        inner = [inner]
    return inner


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (datetime(2026, 1, 1), "the result holds a datetime, which is not JSON data; expected"),
        ({"when": [datetime(2026, 1, 1)]}, "holds a datetime"),
        ({1, 2}, "holds a set"),
        (b"bytes", "holds a bytes"),
        (Path("/"), "holds a PosixPath"),
        (Point(1), "holds a Point"),
        (Colour.RED, "holds a Colour"),
        (object(), "holds a object"),
        (iter([1]), "holds a list_iterator"),
        (float("nan"), "the result is not JSON data (Out of range float values"),
        ([float("inf")], "the result is not JSON data"),
        ({(1, 2): 3}, "the result is not JSON data (keys must be"),
        (circle(), "the result is not JSON data (Circular reference"),
        (deep(), "the result is not JSON data (maximum recursion depth"),
        (10**5000, "the result is not JSON data"),
    ],
    ids=range(15),
)
def test_what_is_not_json_is_refused_and_not_spelled_out(value: Any, said: str) -> None:
    with pytest.raises(InputError) as caught:
        result_text(value, 100)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_ten_megabytes_are_cut_and_say_so() -> None:
    text, cut = result_text("é" * 10**7, 20_000)
    assert cut == "the first 20,000 of 10,000,000 characters"
    assert json.loads(text) == {"cut": cut, "result": "é" * 20_000}

    numbers = list(range(2_000_000))
    text, cut = result_text(numbers, 20_000)
    whole = json.dumps(numbers)
    assert cut == f"the first 20,000 of {len(whole):,} characters"
    assert json.loads(text) == {"cut": cut, "result": whole[:20_000]}


def test_exactly_the_limit_is_whole() -> None:
    assert result_text("x" * 100, 100) == ("x" * 100, None)
    assert result_text("x" * 101, 100)[1] == "the first 100 of 101 characters"
    assert result_text([1] * 10, 30) == (json.dumps([1] * 10), None)
    assert result_text([1] * 10, 29)[1] == "the first 29 of 30 characters"
