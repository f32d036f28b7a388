"""A value that a model wrote, checked against a type hint and made what the function expects.

Only what loses nothing is converted: 2.0 or ``"2"`` for an int, 2 or ``"2.5"`` for a float,
``"true"`` for a bool, a list for a tuple, a value for its Enum member. A number where text is
expected is refused: the model's 01234 has been read as 1234 already. Where a union offers a type
that fits as it is, nothing is converted.
"""

import copy
import math
import re
import reprlib
from enum import Enum
from typing import Any, Literal, get_args, get_origin

from gemma4_mlx.errors import InputError
from gemma4_mlx.tools.hints import is_union

_WHOLE = re.compile(r"[+-]?[0-9]{1,1000}")  # Python refuses to read far longer ones
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_TRUTHS = {"true": True, "false": False}
_WORDS = {None: "null", True: "true", False: "false"}
_EXPECTED: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    type(None): "null",
    list: "a list",
    tuple: "a list",
    dict: "an object",
    Any: "anything",
}


def convert(value: Any, hint: Any, where: str) -> Any:
    """``value`` as ``hint`` wants it, sharing no list or dict with it.

    InputError says ``where`` a value does not fit, what it is and what was expected.
    """
    return _convert(value, hint, where, exact=False)


def _convert(value: Any, hint: Any, where: str, exact: bool) -> Any:
    kind, arguments = get_origin(hint) or hint, get_args(hint)
    if kind is Any:
        return copy.deepcopy(value)
    if is_union(hint):
        return _union(value, hint, where, exact)
    if kind is Literal:
        return _choice(value, [(choice, choice) for choice in arguments], hint, where, exact)
    if issubclass(kind, Enum):
        return _choice(value, [(m.value, m) for m in kind], hint, where, exact)
    if kind in (list, tuple) and isinstance(value, list):
        return _items(value, kind, arguments, where, exact)
    if kind is dict and isinstance(value, dict):
        key_type, value_type = arguments or (str, Any)
        return {
            # JSON's keys are text, whatever they stand for.
            _convert(key, key_type, f"a key of {where}", False): _convert(
                item, value_type, f"{where}.{key}", exact
            )
            for key, item in value.items()
        }
    if type(value) is kind:
        return value
    if not exact:
        found = _same(value, kind)
        if found is not None:
            return found
    raise _unfit(value, hint, where)


def _items(
    value: list[Any], kind: type, arguments: tuple[Any, ...], where: str, exact: bool
) -> Any:
    hints = arguments or (Any,)
    if kind is list:
        hints = (*hints, *hints * len(value))[: len(value)]
    elif not arguments:
        hints = (Any,) * len(value)
    elif len(value) != len(arguments):
        raise InputError(f"{where} has {len(value)} items, expected {len(arguments)}")
    return kind(
        _convert(item, hint, f"{where}[{index}]", exact)
        for index, (item, hint) in enumerate(zip(value, hints, strict=True))
    )


def _union(value: Any, hint: Any, where: str, exact: bool) -> Any:
    members = get_args(hint)
    if value is None and type(None) in members:
        return None
    others = [member for member in members if member is not type(None)]
    if len(others) == 1:
        return _convert(value, others[0], where, exact)
    for as_it_is in (True,) if exact else (True, False):
        for member in others:
            try:
                return _convert(value, member, where, as_it_is)
            except InputError:
                continue
    raise _unfit(value, hint, where)


def _choice(value: Any, choices: list[tuple[Any, Any]], hint: Any, where: str, exact: bool) -> Any:
    for choice, meaning in choices:
        if type(value) is type(choice) and value == choice:
            return meaning
    for choice, meaning in choices:
        if not exact and choice is not None and _same(value, type(choice)) == choice:
            return meaning
    raise _unfit(value, hint, where)


def _same(value: Any, kind: Any) -> Any:
    """The value of this type that says the same, or None."""
    if kind is int:
        if isinstance(value, str) and _WHOLE.fullmatch(value):
            return int(value)
        return int(value) if isinstance(value, float) and value.is_integer() else None
    if kind is float and type(value) in (int, str):
        if isinstance(value, str) and not _NUMBER.fullmatch(value):
            return None
        try:
            number = float(value)
        except OverflowError:
            return None
        return number if math.isfinite(number) else None
    return _TRUTHS.get(value.lower()) if kind is bool and isinstance(value, str) else None


def _unfit(value: Any, hint: Any, where: str) -> InputError:
    found = _WORDS[value] if value is None or isinstance(value, bool) else reprlib.repr(value)
    return InputError(f"{where} is {found}, expected {expected(hint)}")


def expected(hint: Any) -> str:
    """What a value of this type is, for a message."""
    if is_union(hint):
        return " or ".join(map(expected, get_args(hint)))
    if get_origin(hint) is Literal:
        return one_of(list(get_args(hint)))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return one_of([member.value for member in hint])
    return _EXPECTED[get_origin(hint) or hint]


def one_of(choices: list[Any]) -> str:
    """A choice, for a message."""
    return " or ".join(
        repr(choice) if isinstance(choice, str) else str(choice) for choice in choices
    )
