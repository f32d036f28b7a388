"""A session file edited by hand: what is wrong is said in one line with its place."""

import copy
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gemma4_cli.chat.sessions import saved as saved_module
from gemma4_cli.chat.sessions.saved import Saved, read, write
from gemma4_mlx.errors import InputError

SHA256 = "0123456789abcdef" * 4
CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "now", "arguments": {"zone": "UTC"}},
}


def image(**keys: Any) -> dict[str, Any]:
    return {"type": "image", "file": {"path": "/tmp/cat.png", "sha256": SHA256}, **keys}


SOUND: dict[str, Any] = {
    "gemma4_session": 1,
    "model": "e2b",
    "settings": {"temperature": 0.5, "think": None},
    "messages": [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "what time is it?"}]},
        {"role": "assistant", "content": "", "token_ids": [], "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "name": "now", "content": "12:00"},
        {"role": "assistant", "content": "noon", "reasoning": "hm"},
    ],
}


def refusal(file: Path) -> str:
    """The one line that is said."""
    with pytest.raises(InputError) as caught:
        read(file)
    line = str(caught.value)
    assert line.startswith(f"{file} cannot be ") and line.isprintable()
    assert len(line) < len(str(file)) + 300
    return line


def test_what_the_edits_below_start_from_is_sound(tmp_path: Path) -> None:
    (tmp_path / "talk.json").write_text(json.dumps(SOUND))
    found, _ = read(tmp_path / "talk.json")
    assert found.messages[-1]["content"] == "noon"
    (tmp_path / "talk.json").write_text(json.dumps(SOUND), encoding="utf-8-sig")
    assert read(tmp_path / "talk.json")[0] == found


# --- the text ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (b'{\n "gemma4_session": 1,\n "model": "e2b",,\n}', "line 3, column 17 is not JSON"),
        (b'{"gemma4_session": 1,\n "model', "line 2, column 2 is not JSON"),
        (b'{"gemma4_session": 1}\n{}', "line 2, column 1 is not JSON (Extra data)"),
        (b"{'gemma4_session': 1}", "line 1, column 2 is not JSON"),
        ('{"gemma4_session":\n "\u00e9"'.encode("latin-1"), "line 2 holds the byte 0xe9"),
        ("{}".encode("utf-16"), "line 1 holds the byte 0xff"),
        (b"\x89PNG\r\n", "line 1 holds the byte 0x89"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b"1" * 10_000, "thousands of digits"),
        (b"[]", "no 'gemma4_session'"),
        (b"null", "no 'gemma4_session'"),
        (b'{"messages": []}', "no 'gemma4_session'"),
    ],
)
def test_text_that_is_no_session(tmp_path: Path, data: bytes, told: str) -> None:
    (tmp_path / "talk.json").write_bytes(data)
    assert told in refusal(tmp_path / "talk.json")


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("0.5", "NaN", "settings.temperature is nan"),
        ("0.5", "1e999", "settings.temperature is inf"),
        ('"UTC"', "-Infinity", "messages[2].tool_calls[0].function.arguments.zone is -inf"),
        (
            '"role": "system"',
            '"role": "user", "role": "system"',
            "messages[0] has the key 'role' tw",
        ),
        ('"model"', '"model": "e4b", "model"', "the whole has the key 'model' twice"),
        ('"UTC"', "[" * 200 + "]" * 200, "is nested more than 70 levels deep"),
        ('"UTC"', "[" * 62 + "]" * 62, "is nested more than 64 levels deep"),
        ('"be brief"', r'"\ud800"', "messages[0].content holds half a character"),
    ],
)
def test_values_that_json_allows_and_a_session_does_not(
    tmp_path: Path, before: str, after: str, told: str
) -> None:
    (tmp_path / "talk.json").write_text(json.dumps(SOUND).replace(before, after, 1))
    assert told in refusal(tmp_path / "talk.json")


# --- the fields ----------------------------------------------------------------------------------

EDITS: list[tuple[str, Callable[[Any], object], str]] = [
    ("newer", lambda s: s.update(gemma4_session=2), "written by a newer gemma4; this one reads 1"),
    ("version 0", lambda s: s.update(gemma4_session=0), "gemma4_session is 0"),
    ("version text", lambda s: s.update(gemma4_session="1"), "gemma4_session is '1'"),
    ("version true", lambda s: s.update(gemma4_session=True), "gemma4_session is True"),
    ("unknown key", lambda s: s.update(mesages=[]), "unknown key 'mesages'; expected messages"),
    ("no model", lambda s: s.pop("model"), "no 'model'"),
    ("model list", lambda s: s.update(model=["e2b"]), "model is ['e2b']"),
    ("model empty", lambda s: s.update(model=" "), "model is ' '"),
    ("model lines", lambda s: s.update(model="a\nb\x1b[2J"), "model is 'a\\nb\\x1b[2J'"),
    ("no settings", lambda s: s.pop("settings"), "no 'settings'"),
    ("settings list", lambda s: s.update(settings=[]), "settings is []"),
    ("setting slip", lambda s: s["settings"].update(tmperature=1), "expected temperature"),
    ("setting text", lambda s: s["settings"].update(top_k="40"), "settings.top_k is '40'"),
    ("setting range", lambda s: s["settings"].update(top_p=1.5), "settings.top_p is 1.5"),
    ("setting below", lambda s: s["settings"].update(temperature=-1), "settings.temperature is -1"),
    ("setting none", lambda s: s["settings"].update(max_tokens=0), "settings.max_tokens is 0"),
    ("setting bool", lambda s: s["settings"].update(seed=True), "settings.seed is True"),
    ("setting think", lambda s: s["settings"].update(think="yes"), "settings.think is 'yes'"),
    ("setting budget", lambda s: s["settings"].update(budget=300), "settings.budget is 300"),
    ("no messages", lambda s: s.pop("messages"), "no 'messages'"),
    ("messages object", lambda s: s.update(messages={}), "messages is {}"),
    ("message text", lambda s: s["messages"].insert(1, "hello"), "messages[1] is 'hello'"),
    ("message null", lambda s: s["messages"].append(None), "messages[5] is None"),
]


def edit_message(index: int, **keys: Any) -> Callable[[Any], object]:
    return lambda session: session["messages"][index].update(keys)


def parts(*content: Any) -> Callable[[Any], object]:
    return edit_message(1, content=list(content))


def calls(*content: Any) -> Callable[[Any], object]:
    return edit_message(2, tool_calls=list(content))


EDITS += [
    ("role", edit_message(1, role="usr"), "messages[1].role is 'usr'; expected one of user,"),
    ("role list", edit_message(1, role=["user"]), "messages[1].role is ['user']"),
    ("role null", edit_message(1, role=None), "messages[1].role is None"),
    ("no role", lambda s: s["messages"][1].pop("role"), "messages[1] has no 'role'"),
    ("key", edit_message(1, contents=""), "messages[1] has the unknown key 'contents'; expected c"),
    ("key of another role", edit_message(1, token_ids=[1]), "messages[1] has the unknown key 'tok"),
    ("no content", lambda s: s["messages"][1].pop("content"), "messages[1] (user) has no content"),
    ("content number", edit_message(1, content=3), "messages[1].content is a int"),
    ("content object", edit_message(1, content={}), "messages[1].content is a dict"),
    ("reasoning", edit_message(4, reasoning=[1]), "messages[4].reasoning is [1]; expected text"),
    ("ids text", edit_message(4, token_ids="1 2"), "messages[4].token_ids is '1 2'; expected a li"),
    ("ids negative", edit_message(4, token_ids=[1, -1]), "messages[4].token_ids is [1, -1]"),
    ("ids floats", edit_message(4, token_ids=[1.0]), "messages[4].token_ids is [1.0]"),
    ("ids bools", edit_message(4, token_ids=[True]), "messages[4].token_ids is [True]"),
    ("ids huge", edit_message(4, token_ids=[2**40]), "messages[4].token_ids is [1099511627776]"),
    ("ids nested", edit_message(4, token_ids=[[1]]), "messages[4].token_ids is [[1]]"),
    ("ids hash", edit_message(4, text_sha256="12"), "messages[4].text_sha256 is '12'"),
    ("calls object", edit_message(2, tool_calls={}), "messages[2].tool_calls is {}"),
    ("call text", calls("now()"), "messages[2].tool_calls[0] is 'now()'; expected an object"),
    ("call half", calls({"id": "call_1"}), "messages[2].tool_calls[0] has no 'function'"),
    ("call key", calls({**CALL, "fn": 1}), "messages[2].tool_calls[0] has the unknown key 'fn'"),
    ("call type", calls({**CALL, "type": "f"}), "messages[2].tool_calls[0].type is 'f'"),
    ("call id", calls({**CALL, "id": 1}), "messages[2].tool_calls[0].id is 1"),
    (
        "call without name",
        calls({"function": {"arguments": {}}}),
        "messages[2].tool_calls[0].function has no 'name'",
    ),
    (
        "call with an empty name",
        calls({"function": {"name": ""}}),
        "messages[2].tool_calls[0] has no function.name",
    ),
    (
        "arguments as text",
        calls({"function": {"name": "now", "arguments": "{}"}}),
        "messages[2].tool_calls[0].function.arguments is '{}'",
    ),
    ("no calls", lambda s: s["messages"].pop(2), "messages[2] (tool) answers no call"),
    ("tool id", edit_message(3, tool_call_id=7), "messages[3].tool_call_id is 7"),
    ("tool name", edit_message(3, name=None), "messages[3].name is None"),
    ("part text", parts("hello"), "messages[1].content[0] is 'hello'; expected an object"),
    (
        "part type",
        parts({"type": "picture"}),
        "messages[1].content[0].type is 'picture'; expected o",
    ),
    ("part type list", parts({"type": ["image"]}), "messages[1].content[0].type is ['image']"),
    ("part no type", parts({"text": "a"}), "messages[1].content[0] has no 'type'"),
    ("part no text", parts({"type": "text"}), "messages[1].content[0] has no 'text'"),
    ("part text number", parts({"type": "text", "text": 1}), "messages[1].content[0].text is 1"),
    ("second part", parts(image(), {"type": "text", "text": None}), "messages[1].content[1].text"),
    ("inline", parts({"type": "image", "image": "/a.png"}), "unknown key 'image'"),
    ("nowhere", parts({"type": "image"}), "messages[1].content[0] has no 'file' or 'kept'"),
    ("file text", parts({"type": "image", "file": "/a.png"}), "content[0].file is '/a.png'"),
    ("file half", parts(image(file={"path": "/a.png"})), "content[0].file has no 'sha256'"),
    (
        "file key",
        parts(image(file={"path": "/a", "sha256": SHA256, "size": 1})),
        "unknown key 'size'",
    ),
    (
        "relative",
        parts(image(file={"path": "a.png", "sha256": SHA256})),
        "expected an absolute path",
    ),
    ("nul", parts(image(file={"path": "/a\0", "sha256": SHA256})), "expected an absolute path"),
    ("hash", parts(image(file={"path": "/a", "sha256": "abc"})), "content[0].file.sha256 is 'abc'"),
    ("name", parts(image(name=["cat"])), "content[0].name is ['cat']"),
    ("budget", parts(image(max_soft_tokens="70")), "content[0].max_soft_tokens is '70'"),
    (
        "kept outside",
        parts({"type": "image", "kept": "../../etc/passwd"}),
        "content[0].kept is '..",
    ),
    ("kept other", parts({"type": "image", "kept": f"{SHA256}.wav"}), "digits and .png"),
    ("kept video", parts({"type": "video", "kept": f"{SHA256}.png"}), "unknown key 'kept'"),
    ("fps", parts({**image(), "type": "video", "fps": 0}), "content[0].fps is 0"),
    (
        "media in a call",
        edit_message(2, content=[image()]),
        "a message with tool_calls cannot hold",
    ),
]


@pytest.mark.parametrize(("edit", "told"), [e[1:] for e in EDITS], ids=[e[0] for e in EDITS])
def test_fields_edited_by_hand(
    tmp_path: Path, edit: Callable[[Any], object], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = copy.deepcopy(SOUND)
    edit(session)
    (tmp_path / "talk.json").write_text(json.dumps(session))
    monkeypatch.delattr(saved_module, "Finder")  # no medium is touched before all is checked
    assert told in refusal(tmp_path / "talk.json")


def test_a_reply_whose_text_was_edited_loses_its_ids(tmp_path: Path) -> None:
    """The ids would speak for the text, and the edit would be for nothing."""
    file = tmp_path / "talk.json"
    messages = [
        {"role": "user", "content": "what colour?"},
        {"role": "assistant", "content": "grün", "token_ids": [7, 8]},
        {"role": "user", "content": "and this?"},
        {"role": "assistant", "content": "blau", "token_ids": [9]},
    ]
    write(file, Saved("e2b", messages))
    file.write_text(file.read_text().replace("grün", "rot"))
    found, notices = read(file)
    assert found.messages == [
        messages[0],
        {"role": "assistant", "content": "rot"},
        *messages[2:],
    ]
    assert notices == ["messages[1]: its text was edited, so its token ids are left out"]


# --- what is no such file ------------------------------------------------------------------------


def test_what_is_not_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "it is a folder" in refusal(tmp_path)
    assert "No such file" in refusal(tmp_path / "missing.json")
    assert "Not a directory" in refusal(_written(tmp_path / "file") / "talk.json")
    assert "too long" in refusal(tmp_path / ("a" * 300))
    os.mkfifo(tmp_path / "pipe")
    assert "no regular file" in refusal(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        assert "no regular file" in refusal(tmp_path / "socket")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    with pytest.raises(InputError, match="circle"):
        read(tmp_path / "circle")


@pytest.mark.parametrize("size", [17 * 2**20, 2 * 2**30])
def test_files_that_are_far_too_long_are_not_read(tmp_path: Path, size: int) -> None:
    """Making tokens of 50 MB of text would take minutes."""
    with (tmp_path / "huge.json").open("wb") as file:
        file.truncate(size)  # takes no room on the disk
    assert "more than 16,777,216 bytes" in refusal(tmp_path / "huge.json")


def _written(file: Path) -> Path:
    file.write_text("")
    return file


@pytest.mark.parametrize(
    ("roles", "told"),
    [
        (["assistant", "user"], "messages[0].role is 'assistant'; expected user, who begins"),
        (["system", "assistant"], "messages[1].role is 'assistant'; expected user, who begins"),
        (["user", "system"], "messages[1].role is 'system'; expected the system message at the"),
    ],
)
def test_turns_in_an_order_that_no_model_knows(tmp_path: Path, roles: list[str], told: str) -> None:
    messages = [{"role": role, "content": "x"} for role in roles]
    (tmp_path / "talk.json").write_text(json.dumps(SOUND | {"messages": messages}))
    assert told in refusal(tmp_path / "talk.json")
