"""What a session file may say: every field by name and type, before anything of it is used.

    {"gemma4_session": 1, "model": "e2b", "settings": {"temperature": 0.7, …}, "messages": [
        {"role": "system", "content": "…"},
        {"role": "user", "content": [
            {"type": "image", "file": {"path": "/…/cat.png", "sha256": "…"}},
            {"type": "audio", "kept": "….wav", "name": "…"},
            {"type": "text", "text": "…"}]},
        {"role": "assistant", "content": "…", "reasoning": "…", "tool_calls": […],
         "token_ids": […], "text_sha256": "…"},
        {"role": "tool", "tool_call_id": "…", "name": "…", "content": "…"}]}

``file`` is where a medium came from, ``kept`` its name in the folder beside the session file.
``text_sha256`` is of the content that the token ids stand for.

A key that is not known here is refused: it may be a known one with a slip in it. The same checks
see what is written, so that what is written can be read.
"""

import difflib
import os
import re
from collections.abc import Callable, Mapping
from typing import Any

from gemma4_cli.chat.sessions.json_text import check_plain, refuse
from gemma4_cli.chat.sessions.kept_media import SUFFIXES
from gemma4_mlx.errors import InputError
from gemma4_mlx.processing.messages import ROLES, read_messages

FORMAT = "gemma4_session"
VERSION = 1

# A field's rule: what is expected, and whether a value is that.
Rule = tuple[str, Callable[[Any], bool]]

_LARGEST_ID = 2**31 - 1
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def _number(value: Any, low: float, high: float = float("inf")) -> bool:
    return type(value) in (int, float) and low <= value <= high


def _whole(value: Any, low: int, high: int = 2**63) -> bool:
    return type(value) is int and low <= value <= high


def _hex(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


def _name(value: Any) -> bool:
    return isinstance(value, str) and value.strip() != "" and not _CONTROL.search(value)


def _budget(value: Any) -> bool:
    from gemma4_mlx.processing.settings import SOFT_TOKEN_BUDGETS

    return type(value) is int and value in SOFT_TOKEN_BUDGETS


_ANYTHING: Rule = ("anything", lambda value: True)  # looked at by read_messages
_TEXT: Rule = ("text", lambda value: isinstance(value, str))
_LIST: Rule = ("a list", lambda value: isinstance(value, list))
_OBJECT: Rule = ("an object", lambda value: isinstance(value, dict))
_SHA256: Rule = ("a SHA-256 in 64 hexadecimal digits", _hex)
_BUDGET: Rule = ("70, 140, 280, 560 or 1120", _budget)

# The settings of a conversation; null: the default.
SETTINGS: dict[str, Rule] = {
    "temperature": ("a number of at least 0", lambda value: _number(value, 0)),
    "top_p": ("a number from 0 to 1", lambda value: _number(value, 0, 1)),
    "top_k": ("a whole number of at least 0", lambda value: _whole(value, 0)),
    "seed": ("a whole number of at least 0", lambda value: _whole(value, 0)),
    "max_tokens": ("a whole number of at least 1", lambda value: _whole(value, 1)),
    "think": ("true or false", lambda value: isinstance(value, bool)),
    "budget": _BUDGET,
}

_WHOLE: dict[str, Rule] = {
    FORMAT: ("the version of the format", lambda value: _whole(value, 1)),
    "model": ("the name of a model", _name),
    "settings": _OBJECT,
    "messages": _LIST,
}

_MESSAGE: dict[str, Rule] = {"role": _TEXT, "content": _ANYTHING}
_BY_ROLE: dict[str, dict[str, Rule]] = {
    "assistant": {
        "reasoning": _TEXT,
        "tool_calls": _LIST,
        "token_ids": (
            "a list of token ids",
            lambda value: isinstance(value, list) and all(_whole(i, 0, _LARGEST_ID) for i in value),
        ),
        "text_sha256": _SHA256,
    },
    "tool": {"tool_call_id": _TEXT, "name": _TEXT},
}
_CALL: dict[str, Rule] = {
    "id": _TEXT,
    "type": ('"function"', lambda value: value == "function"),
    "function": _OBJECT,
}
_FUNCTION: dict[str, Rule] = {"name": _TEXT, "arguments": _ANYTHING}

_FILE: dict[str, Rule] = {
    "path": (
        "an absolute path",
        lambda value: isinstance(value, str) and os.path.isabs(value) and "\0" not in value,
    ),
    "sha256": _SHA256,
}
_MEDIUM: dict[str, Rule] = {"type": _TEXT, "name": _TEXT, "file": _OBJECT}


def _kept(suffix: str) -> Rule:
    def right(value: Any) -> bool:
        return isinstance(value, str) and value.endswith(suffix) and _hex(value[: -len(suffix)])

    return (f"64 hexadecimal digits and {suffix}", right)


_PARTS: dict[str, dict[str, Rule]] = {
    "text": {"type": _TEXT, "text": _TEXT},
    "image": {**_MEDIUM, "kept": _kept(SUFFIXES["image"]), "max_soft_tokens": _BUDGET},
    "audio": {**_MEDIUM, "kept": _kept(SUFFIXES["audio"])},
    "video": {
        **_MEDIUM,
        "fps": ("a number above 0", lambda value: _number(value, 0) and value > 0),
    },
}


def check_session(raw: Any) -> None:
    """InputError, naming the place, unless ``raw`` is a session as described above."""
    if not isinstance(raw, dict) or FORMAT not in raw:
        raise InputError(f"it is JSON, but no saved conversation: it has no {FORMAT!r}")
    _check(raw, "", {FORMAT: _WHOLE[FORMAT]}, only=False)
    if raw[FORMAT] > VERSION:
        raise InputError(
            f"{FORMAT} is {raw[FORMAT]}, written by a newer gemma4; this one reads {VERSION}: "
            "pip install -U gemma4-mlx"
        )
    check_plain(raw)
    _check(raw, "", _WHOLE, _WHOLE)
    _check(raw["settings"], "settings", SETTINGS, nullable=True)
    for index, message in enumerate(raw["messages"]):
        _check_message(message, f"messages[{index}]")
    _check_order([message["role"] for message in raw["messages"]])
    if raw["messages"]:
        read_messages(raw["messages"])


def _check_order(roles: list[str]) -> None:
    """A system message at the beginning, if at all, and then turns that a user begins."""
    system = ("system", "developer")
    for index, role in enumerate(roles):
        if role in system and index > 0:
            refuse(f"messages[{index}].role", role, "the system message at the beginning alone")
        if index == int(roles[0] in system) and role != "user":
            refuse(f"messages[{index}].role", role, "user, who begins a conversation")


def _check_message(message: Any, where: str) -> None:
    _check(message, where, _MESSAGE, ("role",), only=False)
    role = message["role"]
    if role not in ROLES:
        refuse(f"{where}.role", role, f"one of {', '.join(ROLES)}")
    _check(message, where, _MESSAGE | _BY_ROLE.get(role, {}))
    if isinstance(message.get("content"), list):
        for number, part in enumerate(message["content"]):
            _check_part(part, f"{where}.content[{number}]")
    for number, call in enumerate(message.get("tool_calls", ())):
        spot = f"{where}.tool_calls[{number}]"
        _check(call, spot, _CALL, ("function",))
        _check(call["function"], f"{spot}.function", _FUNCTION, ("name",))


def _check_part(part: Any, where: str) -> None:
    _check(part, where, {"type": _TEXT}, ("type",), only=False)
    rules = _PARTS.get(part["type"])
    if rules is None:
        refuse(f"{where}.type", part["type"], f"one of {', '.join(_PARTS)}")
    _check(part, where, rules, ("text",) if part["type"] == "text" else ())
    if part["type"] == "text":
        return
    if "file" in part:
        _check(part["file"], f"{where}.file", _FILE, _FILE)
    elif "kept" not in part:
        sources = " or ".join(f"'{key}'" for key in ("file", "kept") if key in rules)
        raise InputError(f"{where} has no {sources}; expected where its {part['type']} is")


def _check(
    value: Any,
    where: str,
    rules: Mapping[str, Rule],
    required: Mapping[str, Rule] | tuple[str, ...] = (),
    *,
    only: bool = True,
    nullable: bool = False,
) -> None:
    """An object with the required keys, no others than the known if ``only``, each by its rule."""
    if not isinstance(value, dict):
        refuse(where, value, "an object")
    for key in value if only else ():
        if key not in rules:
            near = difflib.get_close_matches(key, rules, 1) or [", ".join(rules)]
            raise InputError(f"{where or 'it'} has the unknown key {key!r:.60}; expected {near[0]}")
    for key in required:
        if key not in value:
            raise InputError(f"{where or 'it'} has no {key!r}; expected {rules[key][0]} there")
    for key, (expected, right) in rules.items():
        if key in value and not (nullable and value[key] is None) and not right(value[key]):
            refuse(f"{where}.{key}" if where else key, value[key], expected)
