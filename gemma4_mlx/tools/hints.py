"""Type hints as JSON schema: what a model is told about a parameter's type.

The form is that of ``transformers.utils.get_json_schema``, which models are trained and chat
templates written for: ``nullable`` for None, a list of types for a union of plain ones, ``anyOf``
for others, ``enum`` for Literal and Enum. Deviation: its types for pictures and recordings are
refused, for a model cannot write these into a call.
"""

import types
from collections.abc import Sequence
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin

from gemma4_mlx.errors import InputError

_SCALARS: dict[Any, str] = {
    int: "integer",
    float: "number",
    str: "string",
    bool: "boolean",
    type(None): "null",
}
_PLAIN: dict[Any, str] = {**_SCALARS, list: "array", tuple: "array", dict: "object"}


def schema_of(hint: Any) -> dict[str, Any]:
    """The schema of a type. InputError for one whose values a model cannot write as JSON."""
    if hint is Any:
        return {}
    origin, arguments = get_origin(hint), get_args(hint)
    if isinstance(hint, type) and origin is None:
        if issubclass(hint, Enum):
            return _one_of([member.value for member in hint], hint)
        if hint in _PLAIN:
            return {"type": _PLAIN[hint]}
    if is_union(hint):
        return _union(arguments)
    if origin is Literal:
        return _one_of(arguments, hint)
    if origin is list:
        return {"type": "array"} | ({"items": schema_of(arguments[0])} if arguments else {})
    if origin is tuple:
        return _tuple(hint, arguments)
    if origin is dict:
        if not arguments:
            return {"type": "object"}
        if schema_of(arguments[0]).get("type") in ("array", "object"):
            raise InputError(f"{shown(hint)} has keys that JSON cannot hold; use str")
        return {"type": "object", "additionalProperties": schema_of(arguments[1])}
    raise InputError(
        f"{shown(hint)} is not a type of JSON data; expected str, int, float, bool, None, list, "
        "tuple, dict, Literal, an Enum, or a union of these"
    )


def is_union(hint: Any) -> bool:
    """Whether a hint is ``A | B``, ``Union[A, B]`` or ``Optional[A]``."""
    return get_origin(hint) in (Union, types.UnionType)


def shown(hint: Any) -> str:
    """A type as one writes it."""
    return hint.__qualname__ if isinstance(hint, type) and not get_args(hint) else str(hint)


def _union(arguments: Sequence[Any]) -> dict[str, Any]:
    schemas = [schema_of(member) for member in arguments if member is not type(None)]
    if len(schemas) == 1:
        schema = schemas[0]
    elif all(set(s) == {"type"} and isinstance(s["type"], str) for s in schemas):
        names = sorted({s["type"] for s in schemas})
        schema = {"type": names[0] if len(names) == 1 else names}
    else:
        schema = {"anyOf": schemas}
    return schema | ({"nullable": True} if type(None) in arguments else {})


def _tuple(hint: Any, arguments: Sequence[Any]) -> dict[str, Any]:
    if not arguments:
        return {"type": "array"}
    if len(arguments) == 1 or ... in arguments:
        raise InputError(f"{shown(hint)} has no schema; expected list[…], or a longer tuple")
    return {"type": "array", "prefixItems": [schema_of(item) for item in arguments]}


def _one_of(values: Sequence[Any], hint: Any) -> dict[str, Any]:
    strange = [value for value in values if type(value) not in _SCALARS]
    if strange or not values:
        found = f"holds {strange[0]!r:.60}" if strange else "has no members"
        raise InputError(f"{shown(hint)} {found}; expected text, numbers, true, false or None")
    names = list(dict.fromkeys(_SCALARS[type(value)] for value in values))
    return {"type": names[0] if len(names) == 1 else names, "enum": list(values)}
