"""docs/COMMANDS.md: every command, argument and option, from the program itself.

    python -m tests.docs.commands

Names come from the parser, and what they mean from the declarations beside the functions: so the
page depends neither on a terminal's width nor on how a version of Typer words its help.
"""

import inspect
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import typer

from gemma4_cli.app import app
from tests.docs.pages import ROOT, table, write

PAGE = ROOT / "docs/COMMANDS.md"
TOP = """# Commands

`gemma4 COMMAND --help` says the same in the terminal. This page is written by `make docs` from the
declarations of the commands (`cli/`), and a test compares the two; so change those, not this page.

Exit status: 0 done, 1 an error, 2 wrong usage, 130 stopped with Ctrl-C. Replies, transcripts and
JSON go to stdout, everything said about them to stderr.

| variable | what it does |
|---|---|
| `GEMMA4_MODEL` | the model that runs when none is named |
| `GEMMA4_TRACEBACK` | set to anything: an error shows where it came from |
| `NO_COLOR` | set to anything: plain text |
| `XDG_CONFIG_HOME` | the folder of `gemma4/settings.toml`; else `~/.config` |
| `XDG_STATE_HOME` | the folder of `gemma4/sessions`, where chats are kept; else `~/.local/state` |
| `HF_HUB_OFFLINE=1` | nothing is asked of the hub |
"""
WORDS: dict[Any, str] = {str: "TEXT", int: "N", float: "X", Path: "PATH"}


def commands() -> dict[str, Any]:
    """Name → command as the parser knows it, in the order of ``gemma4 --help``."""
    group: Any = typer.main.get_command(app)
    return {name: group.commands[name] for name in group.list_commands(None)}


def text() -> str:
    """The whole page."""
    found = commands()
    functions = {info.name or _name(info.callback): info for info in app.registered_commands}
    assert set(functions) == set(found)
    overview = [[f"[`{name}`](#gemma4-{name})", _about(found[name])[0]] for name in found]
    parts = [TOP, table(["command", "what it does"], overview)]
    parts += [_command(name, found[name], functions[name].callback) for name in found]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _name(function: Any) -> str:
    return str(function.__name__).replace("_", "-")


def _about(command: Any) -> list[str]:
    """The paragraphs of a command's docstring, each in a line."""
    return [" ".join(part.split()) for part in inspect.cleandoc(command.help).split("\n\n")]


def _command(name: str, command: Any, function: Any) -> str:
    declared = dict(_declared(function))
    arguments, options = [], []
    usage = [f"gemma4 {name}", "[OPTIONS]"]
    for param in command.params:
        kind, info, default = declared[param.name]
        if param.param_type_name == "argument":
            shown = param.metavar or param.name.upper()
            usage.append(shown if param.required or shown.startswith("[") else f"[{shown}]")
            arguments.append([f"`{shown.strip('[]')}`", _sentence(info.help)])
        elif not param.hidden:
            options.append(
                [_option(param, kind), _sentence(info.help), _default(param, info, default)]
            )
    parts = [f"## gemma4 {name}", f"    {' '.join(usage)}", *_about(command)]
    if arguments:
        parts.append(table(["argument", "meaning"], arguments))
    if options:
        parts.append(table(["option", "meaning", "default"], options))
    return "\n\n".join(parts)


def _declared(function: Any) -> Iterator[tuple[str, tuple[Any, Any, Any]]]:
    """Parameter → its type, its Typer declaration and its default."""
    hints = get_type_hints(function, include_extras=True)
    for name, parameter in inspect.signature(function).parameters.items():
        hint = hints[name]
        if hint is typer.Context:
            continue
        kind, info = get_args(hint)
        yield name, (_bare(kind), info, parameter.default)


def _bare(hint: Any) -> Any:
    """Of ``list[str] | None`` the ``str``."""
    if get_origin(hint) is not Literal:
        for part in get_args(hint):
            if part is not NoneType:
                return _bare(part)
    return hint


def _option(param: Any, kind: Any) -> str:
    names = [*param.opts, *param.secondary_opts]
    if kind is not bool:
        value = param.metavar or _value(kind)
        names[0] += f" {value}"
    return ", ".join(f"`{name}`" for name in names)


def _value(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "|".join(map(str, get_args(kind)))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "|".join(str(member.value) for member in kind)
    return WORDS[kind]


def _sentence(help_text: str | None) -> str:
    """What is said of a parameter, without the default that a help text names at its end."""
    return (help_text or "").partition(" [default:")[0].strip()


def _default(param: Any, info: Any, default: Any) -> str:
    """The value that counts when none is given, and the bounds of those that may be."""
    said = (info.help or "").partition("[default: ")[2].rstrip("]")
    if not said and default not in (None, False, inspect.Parameter.empty) and info.show_default:
        said = str(default.value if isinstance(default, Enum) else default)
        if default is True:
            said = param.opts[0]
    if isinstance(info.show_default, str):
        said = info.show_default
    return "; ".join(filter(None, [f"`{said}`" if said else "", _bounds(info.min, info.max)]))


def _bounds(least: float | None, most: float | None) -> str:
    if least is None or most is None:
        return "" if least is None else f"at least {least:g}"
    return f"{least:g} to {most:g}"


if __name__ == "__main__":
    write(PAGE, text())
