"""What a model writes, checked against the types: what is converted, what is refused, and how."""

import math
from collections.abc import Callable
from typing import Any, Literal

import pytest

from gemma4_mlx.errors import InputError
from gemma4_mlx.tools import Tool, tool_of
from gemma4_mlx.tools.values import convert

from .declared import Floor, Mixed, Unit, choices, defaults, drink, plain


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        (2, int, 2),
        (2.0, int, 2),
        ("2", int, 2),
        ("-12", int, -12),
        (2.5, float, 2.5),
        (2, float, 2.0),
        ("2.5", float, 2.5),
        ("-.5e3", float, -500.0),
        ("x", str, "x"),
        ("", str, ""),
        (True, bool, True),
        ("False", bool, False),
        (None, type(None), None),
        (None, int | None, None),
        ("7", int | None, 7),
        ("7", int | str, "7"),
        (7, float | int, 7),
        (7, str | int, 7),
        ("7", float | bool, 7.0),
        ([1, 2.0, "3"], list[int], [1, 2, 3]),
        ([], list[int], []),
        ([1, "a"], list, [1, "a"]),
        ([1, "a"], tuple[int, str], (1, "a")),
        ([1, "a"], tuple, (1, "a")),
        ({"a": 1}, dict, {"a": 1}),
        ({"a": 1}, dict[str, float], {"a": 1.0}),
        ({"1": "x"}, dict[int, str], {1: "x"}),
        ([[1], ["2"]], list[list[int]], [[1], [2]]),
        ([1, "x"], list[int | str], [1, "x"]),
        ("left", Literal["left", "right"], "left"),
        ("2", Literal[1, 2], 2),
        (True, Literal[1, True], True),
        (None, Literal["a", None], None),
        ("celsius", Unit, Unit.CELSIUS),
        ("1", Floor, Floor.FIRST),
        (None, Mixed, Mixed.NOTHING),
        ({"deep": [1, {"er": None}]}, Any, {"deep": [1, {"er": None}]}),
    ],
)
def test_what_loses_nothing_is_converted(value: Any, hint: Any, expected: Any) -> None:
    found = convert(value, hint, "x")
    assert found == expected
    assert type(found) is type(expected)
    if isinstance(expected, list | tuple):
        assert list(map(type, found)) == list(map(type, expected))


@pytest.mark.parametrize(
    ("value", "hint", "said"),
    [
        ("two", int, "x is 'two', expected a whole number"),
        (2.5, int, "x is 2.5, expected a whole number"),
        (True, int, "x is true, expected a whole number"),
        (None, int, "x is null, expected a whole number"),
        (math.inf, int, "x is inf, expected a whole number"),
        ("9" * 2000, int, "expected a whole number"),
        ("nan", float, "x is 'nan', expected a number"),
        ("1e999", float, "x is '1e999', expected a number"),
        (10**400, float, "expected a number"),
        (False, float, "x is false, expected a number"),
        (1234, str, "x is 1234, expected text"),
        (["a"], str, "x is ['a'], expected text"),
        (1, bool, "x is 1, expected true or false"),
        ("yes", bool, "x is 'yes', expected true or false"),
        (0, type(None), "x is 0, expected null"),
        ("a", list[int], "x is 'a', expected a list"),
        ([1, "a"], list[int], "x[1] is 'a', expected a whole number"),
        ([[1, None]], list[list[int]], "x[0][1] is null, expected a whole number"),
        ([1], tuple[int, int], "x has 1 items, expected 2"),
        ([1], dict, "x is [1], expected an object"),
        ({"a": "b"}, dict[str, int], "x.a is 'b', expected a whole number"),
        ({"a": 1}, dict[int, int], "a key of x is 'a', expected a whole number"),
        ([], int | str, "x is [], expected a whole number or text"),
        ("up", Literal["left", "right"], "x is 'up', expected 'left' or 'right'"),
        (1, Literal[True, "one"], "x is 1, expected True or 'one'"),
        ("CELSIUS", Unit, "x is 'CELSIUS', expected 'celsius' or 'fahrenheit'"),
        ("x" * 10**6, int, "expected a whole number"),
        ("\x1b[2J", int, "x is '\\x1b[2J', expected a whole number"),
    ],
)
def test_what_does_not_fit_is_refused(value: Any, hint: Any, said: str) -> None:
    with pytest.raises(InputError) as caught:
        convert(value, hint, "x")
    assert said in str(caught.value)
    assert len(str(caught.value)) < 200


def test_a_call_runs_the_function_with_its_defaults() -> None:
    assert tool_of(plain).call({"text": "a", "whole": 1.0, "number": 2, "truth": "true"}) == (
        "a12.0True"
    )
    assert tool_of(defaults).call({"city": "Rome"}) == len("Rome") + 3 + len("celsius")
    assert tool_of(choices).call({"a": "left", "b": 1, "c": None, "d": "fahrenheit"}) is (
        Unit.FAHRENHEIT
    )


def test_every_wrong_argument_is_named_in_one_line() -> None:
    with pytest.raises(InputError) as caught:
        tool_of(plain).arguments({"whole": "x", "colour": 1, "number": None})
    assert str(caught.value) == (
        "plain: text is missing; truth is missing; whole is 'x', expected a whole number; "
        "there is no argument 'colour' (expected: text, whole, number, truth); "
        "number is null, expected a number"
    )


def test_no_arguments_at_all() -> None:
    def now() -> int:
        """Tell the time."""
        return 12

    tool = tool_of(now)
    assert tool.call({}) == tool.call(None) == 12
    with pytest.raises(InputError, match=r"now: there is no argument 'x' \(expected: none\)"):
        tool.call({"x": 1})


@pytest.mark.parametrize("tool", [tool_of(drink)], ids=["drink"])
def test_choices_of_the_docstring_hold(tool: Tool) -> None:
    assert tool.call({"what": "coffee", "how_many": ["one"]}) == "coffee['one']"
    with pytest.raises(InputError, match="drink: what is 'beer', expected 'tea' or 'coffee'"):
        tool.call({"what": "beer", "how_many": []})
    with pytest.raises(InputError, match="drink: how_many is 'six', expected 'one' or 'two'"):
        tool.call({"what": "tea", "how_many": ["one", "six"]})


@pytest.mark.parametrize("hint", [Any, dict, list, dict[str, Any], "Any | None"])
def test_a_tool_that_changes_its_argument_does_not_change_the_message(hint: Any) -> None:
    def spoil(x: Any) -> None:
        """Spoil it.

        Args:
            x: What to spoil.
        """
        (x["inner"] if isinstance(x, dict) else x[0]).append("spoilt")

    annotate: Callable[[Any], None] = lambda h: spoil.__annotations__.update(x=h)  # noqa: E731
    annotate(hint)
    given: Any = {"x": [["whole"]] if hint is list else {"inner": ["whole"]}}
    before = repr(given)
    tool_of(spoil).call(given)
    assert repr(given) == before
