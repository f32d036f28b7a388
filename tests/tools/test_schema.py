"""Declarations equal those of transformers, over many functions; what cannot be declared is said.

The functions stand in a file of their own, for they are read as a file of tools is.
"""

import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from functools import cache, partial, wraps
from typing import Any, TypeVar

import pytest

from gemma4_mlx.errors import InputError
from gemma4_mlx.processing.messages import read_tools
from gemma4_mlx.tools import tool_of

from . import declared

FUNCTIONS = [
    function
    for _, function in inspect.getmembers(declared, inspect.isroutine)
    if function.__module__ == declared.__name__
]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_the_schema_is_that_of_transformers(function: Callable[..., Any]) -> None:
    from transformers.utils import get_json_schema

    ours = tool_of(function).schema
    assert ours == get_json_schema(function)
    assert read_tools([ours]) == [ours]  # plain data, as the processor wants it


def test_there_are_many_functions_and_bound_methods_and_cached_ones_are_functions_too() -> None:
    assert len(FUNCTIONS) >= 20

    class Shop:
        def buy(self, what: str) -> None:
            """Buy it.

            Args:
                what: The thing.
            """

    assert list(tool_of(Shop().buy).schema["function"]["parameters"]["properties"]) == ["what"]
    assert tool_of(cache(declared.plain)).schema == tool_of(declared.plain).schema


def test_a_docstring_may_name_the_types_and_hold_the_words_of_headings() -> None:
    def find(what: str, where: str = "") -> None:
        """Find a thing. Args: and Returns: in a sentence are words.

        Args:
            what (str): The thing,
                on two lines: like this.

            where (str, optional): The place.
        """

    schema = tool_of(find).schema["function"]
    assert schema["description"].endswith("in a sentence are words.")
    described = {n: p["description"] for n, p in schema["parameters"]["properties"].items()}
    assert described == {"what": "The thing, on two lines: like this.", "where": "The place."}


# --- refused -----------------------------------------------------------------------------------

T = TypeVar("T")


def documented(function: Callable[..., Any]) -> Callable[..., Any]:
    function.__doc__ = "Do it.\n\nArgs:\n    x: A value."
    return function


@documented
def untyped(x) -> None: ...  # type: ignore[no-untyped-def]


@documented
def many(*x: int) -> None: ...


@documented
def named(**x: int) -> None: ...


@documented
def by_place(x: int, /) -> None: ...


@documented
async def later(x: int) -> None: ...


@documented
def one_by_one(x: int) -> Iterator[int]:
    yield x


@documented
async def one_by_one_later(x: int) -> AsyncIterator[int]:
    yield x


@documented
def of_a_class(x: "Shelf") -> None: ...  # type: ignore[name-defined]  # noqa: F821


@documented
def of_bytes(x: bytes) -> None: ...


@documented
def of_any_type(x: T) -> None: ...


@documented
def odd_keys(x: dict[tuple[int, int], str]) -> None: ...


@documented
def endless(x: tuple[int, ...]) -> None: ...


@documented
def single(x: tuple[int]) -> None: ...


def undescribed(x: int) -> None:
    """Do it."""


def only_arguments(x: int) -> None:
    """
    Args:
        x: A value.
    """


def bad_choices(x: str) -> None:
    """Do it.

    Args:
        x: A value (choices: a, b)
    """


def without_docstring(x: int) -> None: ...


@wraps(without_docstring)
def wrapped(*arguments: Any) -> None: ...


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (untyped, "untyped: its parameter x has no type; expected x: str"),
        (many, "its parameter *x: int takes any number of arguments; give it a list"),
        (named, r"its parameter **x: int takes arguments of any name; give it a dict"),
        (by_place, "its parameter x: int cannot be given by name; take the / away"),
        (later, "later is async; write it with a plain def"),
        (one_by_one, "one_by_one yields; return a list"),
        (one_by_one_later, "one_by_one_later is async"),
        (of_a_class, "of_a_class: its types cannot be read (name 'Shelf' is not defined)"),
        (of_bytes, "of_bytes: its parameter x: bytes is not a type of JSON data; expected str"),
        (of_any_type, "its parameter x: ~T is not a type of JSON data"),
        (odd_keys, "its parameter x: dict[tuple[int, int], str] has keys that JSON cannot hold"),
        (endless, "its parameter x: tuple[int, ...] has no schema; expected list"),
        (single, "its parameter x: tuple[int] has no schema; expected list"),
        (undescribed, 'undescribed: its docstring does not describe x; expected "Args:"'),
        (only_arguments, "only_arguments: it has no docstring; expected one that says"),
        (bad_choices, "its parameter x: (choices: a, b) is not a JSON list of choices"),
        (without_docstring, "without_docstring: it has no docstring"),
        (wrapped, "without_docstring: it has no docstring"),
        (lambda: 1, "'<lambda>' is not a name that a call can spell"),
        (partial(undescribed, 1), "is not a function: write a tool with def"),
        (dict, "<class 'dict'> is not a function"),
        ("text", "'text' is not a function"),
    ],
)
def test_what_cannot_be_a_tool_is_told_in_one_line(function: Any, said: str) -> None:
    with pytest.raises(InputError) as caught:
        tool_of(function)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_name_with_spaces_is_refused() -> None:
    def named_by_hand() -> None:
        """Do it."""

    named_by_hand.__name__ = "two words"
    with pytest.raises(InputError, match="'two words' is not a name that a call can spell"):
        tool_of(named_by_hand)
