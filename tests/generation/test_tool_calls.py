"""The scanner for ``call:name{…}``."""

import pytest

from gemma4_mlx.generation.tool_calls import ToolCallSyntaxError, parse_tool_call

Q = '<|"|>'


@pytest.mark.parametrize(
    ("text", "name", "arguments"),
    [
        ("call:f{}", "f", {}),
        (
            f"call:get_weather{{city:{Q}Paris{Q},days:2,metric:true,note:null}}",
            "get_weather",
            {"city": "Paris", "days": 2, "metric": True, "note": None},
        ),
        ("call:my-tool.v2{max-len:-1.5,a.b:1e3,off:false}", "my-tool.v2", None),
        (f'call:f{{s:{Q}{{a}},[b]:"c",\n}}{Q}}}', "f", {"s": '{a},[b]:"c",\n}'}),
        (f"call:f{{s:{Q} kept {Q},e:{Q}{Q}}}", "f", {"s": " kept ", "e": ""}),
        (
            f"call:f{{o:{{k:[1,{Q}x{Q},[],{{}}]}},l:[true]}}",
            "f",
            {"o": {"k": [1, "x", [], {}]}, "l": [True]},
        ),
        (f"call:f{{o:{{{Q}quoted key{Q}:1}}}}", "f", {"o": {"quoted key": 1}}),
        (" call:f{ a : 1 , b:[ 1 , 2 ] } ", "f", {"a": 1, "b": [1, 2]}),
        (f"call:f{{s:{Q}café 🚀{Q}}}", "f", {"s": "café 🚀"}),
    ],
)
def test_calls(text: str, name: str, arguments: dict[str, object] | None) -> None:
    if arguments is None:
        arguments = {"max-len": -1.5, "a.b": 1000.0, "off": False}
    assert parse_tool_call(text) == (name, arguments)


def test_integers_stay_integers() -> None:
    _, arguments = parse_tool_call("call:f{i:3,x:3.0}")
    assert [type(value) for value in arguments.values()] == [int, float]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "f{}",
        "call:{}",
        "call:f",
        "call:f{",
        "call:f{a:1",
        "call:f{a:}",
        "call:f{a:1,}",
        "call:f{a:word}",
        f"call:f{{a:{Q}open}}",
        "call:f{} call:g{}",
        "call:f{a:1e999}",
        "call:f{a:" + "[" * 100_000,
        "call:f{a:" + "9" * 5_000 + "}",
    ],
)
def test_what_is_not_a_call_is_refused(text: str) -> None:
    with pytest.raises(ToolCallSyntaxError):
        parse_tool_call(text)
