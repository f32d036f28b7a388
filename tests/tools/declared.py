"""Functions of every kind that can be declared: types, defaults, ways to write a docstring."""

import typing
from enum import Enum, IntEnum
from typing import Annotated, Any, Literal, Optional, Union

from gemma4_mlx.errors import Gemma4Error


class Unit(Enum):
    CELSIUS = "celsius"
    FAHRENHEIT = "fahrenheit"


class Floor(IntEnum):
    GROUND = 0
    FIRST = 1


class Mixed(Enum):
    TEXT = "a"
    NUMBER = 1.5
    NOTHING = None


def plain(text: str, whole: int, number: float, truth: bool) -> str:
    """Do something plain.

    Args:
        text: A text.
        whole: A whole number.
        number: A number.
        truth: Whether it is so.
    """
    return f"{text}{whole}{number}{truth}"


def nothing() -> None:
    """Do nothing."""


def no_annotation_of_the_result(x: int):  # type: ignore[no-untyped-def]
    """Do it.

    Args:
        x: A value.
    """


def defaults(city: str, days: int = 3, unit: str = "celsius", *, exact: bool = False) -> int:
    """
    Begin on the second line.

    And say more, in another paragraph
    of two lines.

    Args:
        city: The city.
        days: How many days,
            which may take a second line
            and a third.
        unit: The unit: celsius or fahrenheit.

        exact: Whether to be exact.

    Returns:
        How many.
    """
    return len(city) + days + len(unit) + exact


def collections(
    a: list,  # type: ignore[type-arg]
    b: list[int],
    c: dict,  # type: ignore[type-arg]
    d: dict[str, float],
    e: tuple[int, str],
    f: tuple,  # type: ignore[type-arg]
    g: list[list[dict[str, bool]]],
) -> dict[str, list[int]]:
    """Take collections.

    Args:
        a: A list.
        b: Whole numbers.
        c: An object.
        d: Numbers by name.
        e: A pair.
        f: Any tuple.
        g: Deep.

    Returns:
        dict: The sum of it
            all.

    Raises:
        ValueError: Never.
    """
    return {"all": [len(x) for x in (a, b, c, d, e, f, g)]}


def old_names(
    a: typing.List[int],  # noqa: UP006
    b: typing.Dict[str, int],  # noqa: UP006
    c: typing.Tuple[int, int],  # noqa: UP006
    d: Optional[int] = None,  # noqa: UP045
    e: Union[int, str] = 0,  # noqa: UP007
) -> Optional[str]:  # noqa: UP045
    """Take the old names.

    Args:
        a: One.
        b: Two.
        c: Three.
        d: Four.
        e: Five.
    """
    return str((a, b, c, d, e))


def unions(
    a: int | None,
    b: int | str,
    c: str | int | None,
    d: list[int] | str,
    e: Literal["x"] | None,
    f: list | tuple,  # type: ignore[type-arg]
    g: Any | None = None,
) -> int | None:
    """Take unions.

    Args:
        a: One.
        b: Two.
        c: Three.
        d: Four.
        e: Five.
        f: Six.
        g: Seven.
    """
    return len(str((a, b, c, d, e, f, g)))


def choices(
    a: Literal["left", "right"],
    b: Literal[1, 2, 3],
    c: Literal[1, "one", None],
    d: Unit = Unit.CELSIUS,
    e: Floor = Floor.GROUND,
    f: Mixed | None = None,
) -> Unit:
    """Choose.

    Args:
        a: A side.
        b: A number.
        c: Either.
        d: A unit.
        e: A floor.
        f: Anything.

    Returns:
        The unit.
    """
    return Unit(d) if (a, b, c, e, f) else d


def anything(x: Any, y: "int", z: Annotated[str, "said of it"]) -> Any:
    """Take anything.

    Args:
        x: Whatever.
        y: A hint in quotes.
        z: A hint with a remark.
    """
    return x, y, z


def drink(what: str, how_many: list[str]) -> str:
    """Drink something.

    Args:
        what: The drink (choices: ["tea", " coffee "])
        how_many: How many
            of them (Choices: ["one", "two"])
    """
    return what + str(how_many)


def a_result_that_no_schema_has(x: int) -> Gemma4Error:
    """Give an object.

    Args:
        x: A value.

    Returns:
        The object.
    """
    return Gemma4Error(x)


def described_only(x: int) -> int:
    """Say what comes back.

    Args:
        x: A value.

    Returns:
        A line,
          and an indented one.
    """
    return x


def unindented(x: int, y: int) -> int:
    """Set the entries flush.

    Args:
    x: A value.
    y: Another,
    on two lines.
    """
    return x + y


def colons(x: str, y: str) -> str:
    """Use colons: here, too.

    Args:
        x: Like this: so.
            deeper: is text
        y:The end: 10:30.
    """
    return x + y


def more_than_there_is(x: int) -> int:
    """Describe too much.

    Args:
        x: A value.
        y: What is not there.
    """
    return x


def raises_first(x: int) -> int:
    """Raise.

    Args:
        x: A value.
    Raises:
        ValueError: If so.
    """
    return x


def other_headings(x: int) -> int:
    """Show how.

    Example:
        other_headings(1)

    Args:
        x: A value.
    """
    return x


def größe(länge: float) -> float:
    """Give the size: „so groß“ <|"|> 尺寸.

    Args:
        länge: Die Länge, in €.
    """
    return länge


def Upper(B: int, a: int, A: int) -> int:
    """Mix cases.

    Args:
        B: One.
        a: Two.
        A: Three.
    """
    return B + a + A


def words_of_schemas(type: str, properties: str, description: str, required: str) -> str:
    """Take names that schemas use.

    Args:
        type: One.
        properties: Two.
        description: Three.
        required: Four.
    """
    return type + properties + description + required


def one_line(x: int = 5) -> int:
    """Do it in one line.

    Args:
        x: A value."""
    return x
