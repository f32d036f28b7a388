"""A session file as JSON text, in both directions.

What comes in was perhaps edited by hand, so what is wrong with it is said with its line and column,
or with its place among the data. What goes out is laid out to be read: one line a field, token ids
in one line.
"""

import json
import math
import reprlib
from typing import Any, NoReturn

from gemma4_mlx.errors import InputError

# The longest conversations that a model's context holds take a few megabytes.
LARGEST = 16 * 2**20

# As deep as the arguments of a function call may be, and the levels that lead to them.
_DEEPEST = 70

# A short excerpt of a foreign value, on one line, with control characters escaped.
_excerpt = reprlib.repr


class _Twice(dict[str, Any]):
    """An object in which a key is there twice, of which one would be lost in silence."""

    key = ""


def parse(data: bytes) -> Any:
    """The data of a JSON text in UTF-8, for check_plain; InputError says where it is broken."""
    try:
        text = data.decode("utf-8-sig")  # some editors begin a file with a byte order mark
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"line {line} holds the byte 0x{data[error.start]:02x}, which is not UTF-8 text"
        ) from None
    if not text.strip():
        raise InputError("it is empty")
    try:
        value = json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        raise InputError(
            f"line {error.lineno}, column {error.colno} is not JSON ({error.msg})"
        ) from None
    except RecursionError:
        raise InputError("its brackets are nested too deeply") from None
    except ValueError:  # Python reads no whole number of more than 4,300 digits
        raise InputError("it holds a whole number of thousands of digits") from None
    return value


def check_plain(value: Any, where: str = "", depth: int = 0) -> None:
    """InputError, naming the place, for what no session holds.

    That is: a number that is not finite, a key that is there twice in an object, what nests too
    deeply, and, in data to be written, what JSON has no word for.
    """
    if isinstance(value, _Twice):
        raise InputError(f"{where or 'the whole'} has the key {_excerpt(value.key)} twice")
    if isinstance(value, float) and not math.isfinite(value):
        refuse(where, value, "a finite number")
    if isinstance(value, dict | list):
        if depth == _DEEPEST:
            raise InputError(f"{where[:60]}… is nested more than {_DEEPEST} levels deep")
        inside = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in inside:
            if type(item) not in (str, int):  # as most are, token ids above all
                check_plain(item, _place(where, key), depth + 1)
    elif not isinstance(value, str | int | float | None):
        refuse(where, value, "text, a number, true, false, null, a list or an object")


def refuse(where: str, value: Any, expected: str) -> NoReturn:
    """InputError: what stands at a place is not what belongs there."""
    raise InputError(f"{where or 'the whole'} is {_excerpt(value)}; expected {expected}")


def laid_out(value: Any, indent: str = "") -> str:
    """JSON text, in which lists of numbers or words take one line."""
    inner = indent + "  "
    if isinstance(value, dict) and value:
        items = [f"{_quoted(key)}: {laid_out(item, inner)}" for key, item in value.items()]
        return _block("{", items, "}", indent)
    if isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        return _block("[", [laid_out(item, inner) for item in value], "]", indent)
    if isinstance(value, list):
        return "[" + ", ".join(laid_out(item) for item in value) + "]"
    return _quoted(value) if isinstance(value, str) else json.dumps(value, allow_nan=False)


def _block(opening: str, items: list[str], closing: str, indent: str) -> str:
    lines = ",\n".join(f"{indent}  {item}" for item in items)
    return f"{opening}\n{lines}\n{indent}{closing}"


def _quoted(text: str) -> str:
    """Text as it is, or escaped where a file's name is not UTF-8."""
    quoted = json.dumps(text, ensure_ascii=False)
    try:
        quoted.encode("utf-8")
    except UnicodeEncodeError:
        return json.dumps(text)
    return quoted


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    keys = [key for key, _ in pairs]
    twice = _Twice(found)
    twice.key = next(key for key in keys if keys.count(key) > 1)
    return twice


def _place(where: str, key: str | int) -> str:
    if isinstance(key, int):
        return f"{where}[{key}]"
    named = key if key.isidentifier() else _excerpt(key)
    return f"{where}.{named}" if where else named
