"""What a caller says, checked: messages, their media in order, and the declarations of tools.

Everything a chat template sees is rebuilt from plain JSON data, so that a template (which came
with a checkpoint) meets no object with methods. A message that is not understood is refused with
its index: templates drop or misplace what they do not know, without a word.
"""

import re
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from gemma4_mlx.errors import InputError

MediaKind = Literal["image", "audio", "video"]

ROLES = ("user", "assistant", "system", "developer", "tool")

# Under which keys a part holds its medium, and the two OpenAI spellings.
_MEDIA_KEYS: dict[str, tuple[MediaKind, tuple[str, ...]]] = {
    "image": ("image", ("image", "path", "url", "base64")),
    "audio": ("audio", ("audio", "path", "url")),
    "video": ("video", ("video", "path", "url")),
    "image_url": ("image", ("image_url",)),
    "input_audio": ("audio", ("input_audio",)),
}

# The names under which a message's reasoning is passed; templates read the first.
_REASONING = ("reasoning_content", "thinking", "reasoning")

# Far deeper than any schema or argument, far from Python's limit of nested calls.
_DEEPEST = 64

_THOUGHT = re.compile(r"<\|channel>.*?<channel\|>", re.DOTALL)


@dataclass(frozen=True)
class MediaPart:
    """A picture, recording or video of a message; ``value`` is None for a bare placeholder.

    ``max_soft_tokens`` is a picture's own budget.
    """

    kind: MediaKind
    value: Any
    where: str
    fps: float | None = None
    max_soft_tokens: int | None = None


@dataclass
class Conversation:
    """Messages as plain data, their media in prompt order, and ids given for replies.

    ``replies`` maps a message's index to the ids the model generated for its visible text.
    """

    messages: list[dict[str, Any]] = field(default_factory=list)
    media: list[MediaPart] = field(default_factory=list)
    replies: dict[int, list[int]] = field(default_factory=dict)


def read_messages(messages: Sequence[Mapping[str, Any]]) -> Conversation:
    """Check a conversation. InputError names the message and what was expected of it."""
    if isinstance(messages, str | bytes | Mapping) or not isinstance(messages, Sequence):
        raise InputError(
            f"messages is a {type(messages).__name__}; expected a list of messages like "
            '{"role": "user", "content": "…"}'
        )
    if not messages:
        raise InputError("messages is empty; expected at least one message")
    conversation = Conversation()
    for index, message in enumerate(messages):
        _read_message(index, message, conversation)
    return conversation


def read_tools(tools: Sequence[Mapping[str, Any]] | None) -> list[dict[str, Any]] | None:
    """Check tool declarations in OpenAI's style; None when there are none."""
    if tools is None:
        return None
    if isinstance(tools, str | Mapping) or not isinstance(tools, Sequence):
        raise InputError(f"tools is a {type(tools).__name__}; expected a list of declarations")
    for index, tool in enumerate(tools):
        if callable(tool):
            raise InputError(
                f"tools[{index}] is a Python function; describe it as "
                '{"type": "function", "function": {"name": …, "description": …, "parameters": …}}'
            )
        _function(tool, f"tools[{index}]")
    plain: list[dict[str, Any]] = plain_data(list(tools), "tools")
    return plain or None


def plain_data(value: Any, where: str, depth: int = 0) -> Any:
    """A copy made of dict, list, str, int, float, bool and None only, or InputError."""
    if depth > _DEEPEST:
        raise InputError(
            f"{where[:40]}… is nested more than {_DEEPEST} levels deep; expected flatter data"
        )
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise InputError(f"{where} holds half a character (a lone surrogate)") from None
        return str.__str__(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise InputError(f"{where} has the key {key!r}; expected keys that are strings")
        return {
            plain_data(key, where): plain_data(item, f"{where}.{key}", depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [
            plain_data(item, f"{where}[{index}]", depth + 1) for index, item in enumerate(value)
        ]
    if getattr(value, "ndim", None) == 0:  # a NumPy scalar
        return plain_data(value.item(), where)
    raise InputError(f"{where} is a {type(value).__name__}; expected plain JSON data")


def _read_message(index: int, message: Any, conversation: Conversation) -> None:
    where = f"messages[{index}]"
    if not isinstance(message, Mapping):
        raise InputError(f'{where} is a {type(message).__name__}; expected {{"role": …, …}}')
    message = {key: value for key, value in message.items() if value is not None}
    role = message.get("role")
    if role not in ROLES:
        found = f"has the role {reprlib.repr(role)}" if "role" in message else "has no role"
        raise InputError(f"{where} {found}; expected one of {', '.join(ROLES)}")
    if "token_ids" in message:
        ids = _reply_ids(message.pop("token_ids"), role, where)
        if ids:
            conversation.replies[index] = ids
    content = message.pop("content", None)
    plain: dict[str, Any] = plain_data(message, where)
    _check_tool_exchange(plain, role, where, conversation.messages)
    if content is not None:
        plain["content"] = _read_content(content, plain, where, conversation)
    elif role not in ("assistant", "tool"):
        raise InputError(f"{where} ({role}) has no content; expected text or a list of parts")
    elif role == "assistant" and not (plain.keys() - {"role"} or index in conversation.replies):
        raise InputError(f"{where} (assistant) has no content, tool_calls or reasoning")

    reasoning = next((plain[key] for key in _REASONING if key in plain), None)
    if reasoning is not None:
        if not isinstance(reasoning, str):
            raise InputError(f"{where}: its reasoning is not text; expected a string")
        plain = {"thinking": reasoning, **plain, "reasoning_content": reasoning}
    conversation.messages.append(plain)


def _read_content(
    content: Any, message: dict[str, Any], where: str, conversation: Conversation
) -> Any:
    role = message["role"]
    if isinstance(content, str):
        text: str = plain_data(content, f"{where}.content")
        return _visible(text) if role == "assistant" else text
    if role == "tool" and isinstance(content, int | float):
        return content  # a result that is a number, true or false
    if not isinstance(content, list | tuple):
        raise InputError(
            f"{where}.content is a {type(content).__name__}; expected text "
            "(a tool's data as JSON text) or a list of parts"
        )
    parts = []
    for number, part in enumerate(content):
        spot = f"{where}.content[{number}]"
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind == "text":
            if not isinstance(part.get("text"), str):
                raise InputError(f"{spot} is a text part without 'text'; expected a string there")
            text = plain_data(part["text"], spot)
            parts.append({"type": "text", "text": _visible(text) if role == "assistant" else text})
        elif isinstance(kind, str) and kind in _MEDIA_KEYS:
            if role == "assistant" and message.get("tool_calls"):
                raise InputError(f"{spot}: a message with tool_calls cannot hold media")
            conversation.media.append(_read_medium(part, kind, spot))
            parts.append({"type": kind})
        else:
            shown = reprlib.repr(part if kind is None else kind)
            found = f"is {shown}" if kind is None else f"has the type {shown}"
            raise InputError(
                f'{spot} {found}; expected {{"type": "text" | "image" | "audio" | "video", …}}'
            )
    return parts


def _read_medium(part: Mapping[str, Any], type_: str, spot: str) -> MediaPart:
    kind, keys = _MEDIA_KEYS[type_]
    given = [key for key in keys if part.get(key) is not None]
    if len(given) > 1:
        raise InputError(f"{spot} gives {kind} by {' and '.join(given)}; expected one of them")
    value = part[given[0]] if given else None
    if type_ == "image_url" and isinstance(value, Mapping):
        value = value.get("url")
    if type_ == "input_audio" and isinstance(value, Mapping):
        value = f"data:audio;base64,{value.get('data', '')}"
    if given == ["base64"] and not str(value).startswith("data:"):
        value = f"data:image;base64,{value}"
    if kind == "image":
        return MediaPart(kind, value, spot, max_soft_tokens=part.get("max_soft_tokens"))
    return MediaPart(kind, value, spot, part.get("fps") if kind == "video" else None)


def _visible(text: str) -> str:
    """An assistant's text without the thoughts in it, which templates leave out of history."""
    return _THOUGHT.sub("", text)


def _reply_ids(ids: Any, role: str, where: str) -> list[int]:
    if role != "assistant":
        raise InputError(f"{where} ({role}) has token_ids; only an assistant's message may")
    if hasattr(ids, "tolist"):
        ids = ids.tolist()
    if not isinstance(ids, list | tuple) or not all(type(i) is int and i >= 0 for i in ids):
        raise InputError(f"{where}.token_ids is {reprlib.repr(ids)}; expected a list of token ids")
    return list(ids)


def _check_tool_exchange(
    message: dict[str, Any], role: str, where: str, before: list[dict[str, Any]]
) -> None:
    calls = message.get("tool_calls")
    if calls is not None:
        if role != "assistant" or not isinstance(calls, list):
            raise InputError(f"{where}: tool_calls must be a list in an assistant's message")
        for number, call in enumerate(calls):
            spot = f"{where}.tool_calls[{number}]"
            arguments = _function(call, spot).get("arguments", "")
            if not isinstance(arguments, dict | None):
                raise InputError(
                    f"{spot}.function.arguments is {arguments!r:.40}; expected an object: "
                    "decode the JSON text first"
                )
            call["function"].setdefault("arguments", None)
    if role == "tool":
        asked: dict[str, Any] = next((m for m in reversed(before) if m["role"] != "tool"), {})
        if not asked.get("tool_calls") or asked.get("tool_responses"):
            raise InputError(
                f"{where} (tool) answers no call; expected an assistant's message with "
                "tool_calls right before it"
            )


def _function(holder: Any, where: str) -> Mapping[str, Any]:
    function = holder.get("function") if isinstance(holder, Mapping) else None
    name = function.get("name") if isinstance(function, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(name, str) or not name:
        raise InputError(
            f"{where} has no function.name; expected "
            '{"type": "function", "function": {"name": …, …}}'
        )
    return function
