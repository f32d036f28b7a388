"""A function that a model may call: declared from its signature and docstring.

The declaration has the form of ``transformers.utils.get_json_schema``. More is asked of a function
than there, since it is not only declared but called: parameters that a call can name, and a result
that is there when the function returns.
"""

import inspect
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, get_type_hints

from gemma4_mlx.errors import InputError
from gemma4_mlx.tools.docstrings import read_docstring
from gemma4_mlx.tools.hints import schema_of
from gemma4_mlx.tools.values import convert, one_of

_CHOICES = re.compile(r"\(choices:\s*(.*?)\)\s*$", re.IGNORECASE)
_KINDS = {
    inspect.Parameter.VAR_POSITIONAL: "takes any number of arguments; give it a list",
    inspect.Parameter.VAR_KEYWORD: "takes arguments of any name; give it a dict",
    inspect.Parameter.POSITIONAL_ONLY: "cannot be given by name; take the / away",
}


@dataclass(frozen=True)
class Tool:
    """``schema`` is the declaration in OpenAI's style, as the processor and ChatSession take it."""

    name: str
    schema: dict[str, Any]
    function: Callable[..., Any]

    def arguments(self, given: Mapping[str, Any] | None) -> dict[str, Any]:
        """What a model wrote, checked and converted to the types of the parameters.

        Raises InputError that names every argument that is missing, unknown or of a wrong type.
        """
        given = given or {}
        hints = get_type_hints(self.function)
        parameters = self.schema["function"]["parameters"]
        properties, required = parameters["properties"], parameters.get("required", ())
        wrong = [f"{name} is missing" for name in required if name not in given]
        found = {}
        for name, value in given.items():
            if name not in properties:
                names = ", ".join(properties) or "none"
                wrong.append(f"there is no argument {name!r:.60} (expected: {names})")
                continue
            try:
                found[name] = convert(value, hints[name], name)
                _check_choice(found[name], properties[name], name)
            except InputError as error:
                wrong.append(str(error))
        if wrong:
            raise InputError(f"{self.name}: {'; '.join(wrong)}")
        return found

    def call(self, given: Mapping[str, Any] | None) -> Any:
        """Run the function with what a model wrote; InputError as ``arguments``."""
        return self.function(**self.arguments(given))


def tool_of(function: Callable[..., Any]) -> Tool:
    """The tool that a typed function with a Google-style docstring is.

    >>> def add(a: int, b: int = 1) -> int:
    ...     '''Add two numbers.
    ...
    ...     Args:
    ...         a: The first.
    ...         b: The second.
    ...     '''
    ...     return a + b
    >>> tool_of(add).schema["function"]["parameters"]["required"]
    ['a']
    >>> tool_of(add).call({"a": "2"})
    3

    Raises InputError for a function without a docstring, with a parameter that has no type, none
    that JSON knows or no description, or that cannot be called by name; for async functions and
    generators; for a name that is no word, such as a lambda's.
    """
    name = getattr(function, "__name__", None)
    if not inspect.isroutine(function) or not isinstance(name, str):
        raise InputError(f"{function!r:.60} is not a function: write a tool with def")
    if not name.isidentifier():  # a call names its tool with a bare word
        raise InputError(f"{name!r} is not a name that a call can spell: write a tool with def")
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise InputError(f"{name} is async; write it with a plain def that calls asyncio.run")
    if inspect.isgeneratorfunction(function):
        raise InputError(f"{name} yields; return a list instead")
    try:
        return Tool(name, _schema(function, name), function)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None


def _schema(function: Callable[..., Any], name: str) -> dict[str, Any]:
    docstring = read_docstring(inspect.getdoc(function) or "")
    if not docstring.description:
        raise InputError(
            'it has no docstring; expected one that says what it does, with "Args:" and a line '
            '"name: …" for each parameter'
        )
    signature = inspect.signature(function)
    for parameter in signature.parameters.values():
        if parameter.kind in _KINDS:
            raise InputError(f"its parameter {parameter} {_KINDS[parameter.kind]}")
        if parameter.annotation is inspect.Parameter.empty:
            raise InputError(
                f"its parameter {parameter.name} has no type; expected {parameter.name}: str, "
                "int, float, bool, list, dict …"
            )
    try:
        hints = get_type_hints(function)
    except Exception as error:  # a hint may be text, and any program
        raise InputError(f"its types cannot be read ({error})") from None
    properties = {
        parameter: _parameter(parameter, hints[parameter], docstring.arguments)
        for parameter in signature.parameters
    }
    required = [p.name for p in signature.parameters.values() if p.default is p.empty]
    parameters: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        parameters["required"] = required
    declared = {"name": name, "description": docstring.description, "parameters": parameters}
    if "return" in hints:
        try:
            returned = schema_of(hints["return"])
        except InputError:  # no model writes it, so no template needs it
            returned = None
        if returned is not None:
            described = {} if docstring.returns is None else {"description": docstring.returns}
            declared["return"] = returned | described
    return {"type": "function", "function": declared}


def _parameter(name: str, hint: Any, descriptions: Mapping[str, str]) -> dict[str, Any]:
    try:
        schema = schema_of(hint)
    except InputError as error:
        raise InputError(f"its parameter {name}: {error}") from None
    description = descriptions.get(name)
    if description is None:
        raise InputError(
            f'its docstring does not describe {name}; expected "Args:" and under it '
            f'a line "{name}: …"'
        )
    choices = _CHOICES.search(description)
    if choices:
        try:
            listed = json.loads(choices[1])
        except ValueError:
            listed = None
        if not isinstance(listed, list) or not listed:
            raise InputError(f"its parameter {name}: {choices[0]} is not a JSON list of choices")
        schema["enum"] = [item.strip() if isinstance(item, str) else item for item in listed]
        description = description[: choices.start()].strip()
    return schema | {"description": description}


def _check_choice(value: Any, schema: Mapping[str, Any], name: str) -> None:
    """Choices may come from the docstring alone; those of a list are for each of its items."""
    choices = schema.get("enum")
    for item in value if isinstance(value, list) else [value]:
        plain = item.value if isinstance(item, Enum) else item
        if choices is not None and plain is not None and plain not in choices:
            raise InputError(f"{name} is {plain!r:.60}, expected {one_of(choices)}")
