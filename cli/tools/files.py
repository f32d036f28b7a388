"""``--tool FILE.py``: a Python file whose public functions a model may call.

The file runs as any program that its owner starts; nothing of it is a tool unless it is named.
Every function defined in it is one, unless its name begins with an underscore: one that cannot be
a tool is an error, for a function left out in silence would be missed. Its folder does not become a
place to import from, so that no file beside it can pose as a package that the chat itself imports
later: helpers stand in the same file or are installed.
"""

import contextlib
import hashlib
import inspect
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from gemma4_mlx.errors import InputError
from gemma4_mlx.tools import Tool, tool_of


def load_tools(file: Path) -> list[Tool]:
    """The tools of a file, in its order. What it prints while it is read goes to stderr.

    Raises InputError, with the file and the line, for a file that cannot be read or run, that has
    no public function, or one that cannot be a tool.
    """
    path = Path(file).expanduser()
    module = _run(path)
    tools: dict[int, Tool] = {}
    for name, function in vars(module).items():
        if name.startswith("_") or not _is_own(function, module) or id(function) in tools:
            continue
        own_name = getattr(function, "__name__", name)
        if own_name != name and vars(module).get(own_name) is function:
            continue  # a second name for another tool
        try:
            if own_name != name and own_name.isidentifier():
                raise InputError(f"{name} calls itself {own_name}: decorators need functools.wraps")
            tool = tool_of(function)
        except InputError as error:
            raise InputError(
                f"{path}, line {_line(function)}: {error} (a function that is no tool begins "
                "with an underscore)"
            ) from None
        tools[id(function)] = tool
    if not tools:
        raise InputError(f"{path} has no public functions; expected def name(…) with a docstring")
    return list(tools.values())


def load_all(files: Iterable[Path]) -> list[Tool]:
    """The tools of several files; InputError as ``load_tools``, and for two of one name."""
    return list(by_name(tool for file in files for tool in load_tools(file)).values())


def by_name(tools: Iterable[Tool]) -> dict[str, Tool]:
    """Tools of several files by name; InputError when two have the same."""
    found: dict[str, Tool] = {}
    for tool in tools:
        if tool.name in found:
            first, second = _place(found[tool.name].function), _place(tool.function)
            raise InputError(
                f"two tools are called {tool.name}: {first} and {second}; rename one, or leave out "
                "one of the files"
            )
        found[tool.name] = tool
    return found


def _run(path: Path) -> ModuleType:
    """The module that a file is, run. Its name is of its own, whatever the file is called."""
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"{path} is not a file; expected a Python file with functions")
        source = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    try:
        code = compile(source, str(path), "exec", dont_inherit=True)
    except SyntaxError as error:
        raise InputError(f"{path}, line {error.lineno or 1}: not Python: {error.msg}") from None
    except (ValueError, RecursionError, MemoryError, OverflowError) as error:
        raise InputError(f"{path} is not a Python file: {error}") from None
    digest = hashlib.sha256(str(path.resolve()).encode("utf-8", "surrogateescape")).hexdigest()
    module = ModuleType(f"_gemma4_tools_{digest[:16]}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses and type hints look for it there
    try:
        with contextlib.redirect_stdout(sys.stderr):
            exec(code, vars(module))
    except (Exception, SystemExit) as error:
        del sys.modules[module.__name__]
        line = line_in(str(path), error) or 1
        said = " ".join(f"{type(error).__name__}: {error}".split())
        if isinstance(error, ModuleNotFoundError):
            said += "; install it, or put it into the file: modules beside it are not found"
        raise InputError(f"{path}, line {line}: cannot be loaded: {said}") from None
    return module


def line_in(file: str, error: BaseException) -> int | None:
    """The innermost line of ``file`` that an exception passed through."""
    lines = [
        line
        for frame, line in traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_filename == file
    ]
    return lines[-1] if lines else None


def file_of(function: Callable[..., Any]) -> str:
    """The file a function stands in, as it was named."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return code.co_filename if code is not None else "?"


def _is_own(value: Any, module: ModuleType) -> bool:
    return inspect.isroutine(value) and getattr(value, "__module__", "") == module.__name__


def _line(function: Callable[..., Any]) -> int:
    code = getattr(inspect.unwrap(function), "__code__", None)
    return code.co_firstlineno if code is not None else 1


def _place(function: Callable[..., Any]) -> str:
    return f"{file_of(function)}, line {_line(function)}"
