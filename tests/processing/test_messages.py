from typing import Any

import numpy as np
import pytest

from gemma4_mlx.errors import InputError
from gemma4_mlx.processing.messages import plain_data, read_messages, read_tools

USER = {"role": "user", "content": "Hi"}
CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": {"a": 1}}}


def calls(*tool_calls: Any) -> dict[str, Any]:
    return {"role": "assistant", "tool_calls": list(tool_calls)}


def call(**function: Any) -> dict[str, Any]:
    return calls({"function": function})


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ("Hi", "messages is a str; expected a list of messages"),
        (USER, "messages is a dict; expected a list of messages"),
        ([], "messages is empty"),
        (["Hi"], r"messages\[0\] is a str"),
        ([{"content": "Hi"}], r"messages\[0\] has no role; expected one of user, assistant"),
        ([USER, {"role": "model", "content": ""}], r"messages\[1\] has the role 'model'"),
        ([{"role": ["user"], "content": "Hi"}], "has the role"),
        ([{"role": "user"}], r"messages\[0\] \(user\) has no content"),
        ([{"role": "user", "content": None}], "has no content"),
        ([{"role": "user", "content": 5}], r"messages\[0\]\.content is a int; expected text"),
        ([{"role": "user", "content": {"type": "text"}}], r"content is a dict; expected text"),
        (
            [USER, calls(CALL), {"role": "tool", "content": {"t": 21}}],
            r"messages\[2\]\.content is a dict; expected text \(a tool's data as JSON text\)",
        ),
        ([{"role": "user", "content": ["Hi"]}], r"content\[0\] is 'Hi'; expected"),
        ([{"role": "user", "content": [{"text": "Hi"}]}], r"content\[0\] is \{'text'"),
        ([{"role": "user", "content": [{"type": "pdf"}]}], r"content\[0\] has the type 'pdf'"),
        ([{"role": "user", "content": [{"type": []}]}], r"content\[0\] has the type \[\]"),
        ([{"role": "user", "content": [{"type": "text"}]}], "is a text part without 'text'"),
        ([{"role": "user", "content": [{"type": "text", "text": 5}]}], "without 'text'"),
        (
            [{"role": "user", "content": [{"type": "image", "image": "a", "url": "b"}]}],
            "gives image by image and url; expected one",
        ),
        ([{"role": "user", "content": "\ud800"}], "half a character"),
        ([USER, {"role": "assistant"}], r"messages\[1\] \(assistant\) has no content"),
        ([{"role": "tool", "content": "21"}], r"messages\[0\] \(tool\) answers no call"),
        ([USER, {"role": "tool", "content": "21"}], r"messages\[1\] \(tool\) answers no call"),
        ([{"role": "user", "content": "", "tool_calls": [CALL]}], "must be a list in an assist"),
        ([{"role": "assistant", "tool_calls": CALL}], "must be a list in an assistant's"),
        ([USER, calls("f")], r"messages\[1\]\.tool_calls\[0\] has no function\.name"),
        ([USER, calls({"name": "f"})], r"tool_calls\[0\] has no function\.name"),
        ([USER, call(name="", arguments={})], r"has no function\.name"),
        ([USER, call(name="f", arguments='{"a": 1}')], "decode the JSON text first"),
        ([USER, call(name="f")], r"arguments is ''; expected an object"),
        ([USER, call(name="f", arguments={1: 2})], "has the key 1; expected keys that are str"),
        ([USER, call(name="f", arguments={"a": object()})], "is a object; expected plain JSON"),
        ([{**USER, "token_ids": [1]}], r"messages\[0\] \(user\) has token_ids"),
        ([{"role": "assistant", "token_ids": "12"}], "expected a list of token ids"),
        ([{"role": "assistant", "token_ids": [-1]}], "expected a list of token ids"),
        ([{"role": "assistant", "token_ids": [1.0]}], "expected a list of token ids"),
        ([{"role": "assistant", "reasoning": ["a"]}], "its reasoning is not text"),
        (
            [{**calls(CALL), "content": [{"type": "image"}]}],
            "a message with tool_calls cannot hold media",
        ),
    ],
)
def test_malformed_messages(messages: Any, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        read_messages(messages)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("tools", "said"),
    [
        ("f", "tools is a str; expected a list"),
        ({"function": {"name": "f"}}, "tools is a dict; expected a list"),
        ([print], r"tools\[0\] is a Python function; describe it as"),
        ([{"name": "f"}], r"tools\[0\] has no function\.name"),
        (["f"], r"tools\[0\] has no function\.name"),
        ([{"function": {"name": "f", "parameters": {1}}}], "is a set; expected plain JSON data"),
    ],
)
def test_malformed_tools(tools: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_tools(tools)


def test_data_without_a_bottom() -> None:
    flat: dict[str, Any] = {}
    deep = flat
    for _ in range(3_000):
        deep = {"properties": deep}
    endless: list[Any] = []
    endless.append(endless)
    for data in (deep, endless):
        with pytest.raises(InputError, match=r"tools\[0\].* more than 64 levels deep") as caught:
            read_tools([{"function": {"name": "f", "parameters": data}}])
        assert len(str(caught.value)) < 200
    part: list[Any] = []
    for _ in range(3_000):
        part = [part]
    with pytest.raises(InputError, match=r"content\[0\] is \[\["):
        read_messages([{"role": "user", "content": [part]}])


def test_no_tools() -> None:
    assert read_tools(None) is None
    assert read_tools([]) is None


def test_plain_data_copies_and_converts() -> None:
    given = {"a": (1, np.float32(0.5), np.bool_(False)), "b": [None, True]}
    assert plain_data(given, "x") == {"a": [1, 0.5, False], "b": [None, True]}
    assert type(plain_data(given, "x")["a"][2]) is bool


def test_the_callers_messages_stay_as_they_are() -> None:
    message = {"role": "assistant", "content": "<|channel>a<channel|>b", "token_ids": [1]}
    before = dict(message)
    read_messages([USER, message])
    assert message == before


def test_media_are_collected_in_order() -> None:
    read = read_messages(
        [
            {
                "role": "user",
                "content": [
                    {"type": "image", "path": "a.png"},
                    {"type": "audio", "url": "b.wav"},
                    {"type": "image_url", "image_url": {"url": "c.png"}},
                    {"type": "video", "video": "d.mp4", "fps": 2.0},
                    {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
                    {"type": "image", "base64": "BBBB"},
                    {"type": "audio"},
                ],
            }
        ]
    )
    assert [(m.kind, m.value) for m in read.media] == [
        ("image", "a.png"),
        ("audio", "b.wav"),
        ("image", "c.png"),
        ("video", "d.mp4"),
        ("audio", "data:audio;base64,AAAA"),
        ("image", "data:image;base64,BBBB"),
        ("audio", None),
    ]
    assert read.media[3].fps == 2.0
    assert read.media[6].where == "messages[0].content[6]"


def test_a_tools_answer_may_be_text_parts_or_a_number() -> None:
    for content in ("21", 21, 2.5, True, None, [{"type": "text", "text": "21"}]):
        answer = {"role": "tool", "tool_call_id": "1", "content": content}
        assert len(read_messages([USER, calls(CALL), answer]).messages) == 3
