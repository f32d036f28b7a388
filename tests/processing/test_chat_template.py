import json
from pathlib import Path
from typing import Any

import pytest

from gemma4_mlx.errors import CheckpointError, InputError
from gemma4_mlx.processing.chat_template import ChatTemplate
from gemma4_mlx.processing.processor import Processor
from tests.processing import tiny, transformers_side

DATA = Path(__file__).parent / "data"
GOLDENS = json.loads((DATA / "rendered_goldens.json").read_text())


@pytest.fixture(scope="module")
def processors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Processor]:
    """One processor for each size."""
    return {
        size: tiny.make_processor(tmp_path_factory.mktemp(size), big=size == "big")
        for size in ("small", "big")
    }


def test_there_are_goldens() -> None:
    assert len(GOLDENS["cases"]) == 11


@pytest.mark.parametrize("name", GOLDENS["cases"])
def test_a_checkpoints_own_template(name: str, tmp_path: Path) -> None:
    """The first template that Google published differs in thinking, media and tools."""
    case = GOLDENS["cases"][name]
    processor = tiny.make_processor(tmp_path)
    processor.chat_template = ChatTemplate((DATA / "launch.jinja").read_text(), "launch", {})
    tools = GOLDENS["tools"] if case["tools"] else None
    text = processor.apply_chat_template(case["messages"], tools, **case["kwargs"])
    assert text == case["rendered"]["launch_small"]


def of_text(case: dict[str, Any]) -> bool:
    return all(isinstance(message.get("content"), str) for message in case["messages"])


@pytest.mark.parametrize("size", ["small", "big"])
@pytest.mark.parametrize("name", GOLDENS["cases"])
def test_text_equals_the_goldens(processors: dict[str, Processor], name: str, size: str) -> None:
    case = GOLDENS["cases"][name]
    expected = case["rendered"][size]
    arguments = (case["messages"], GOLDENS["tools"] if case["tools"] else None)
    assert processors[size].apply_chat_template(*arguments, **case["kwargs"]) == expected


@pytest.mark.parametrize("size", ["small", "big"])
@pytest.mark.parametrize("name", [n for n, case in GOLDENS["cases"].items() if of_text(case)])
def test_ids_equal_those_of_transformers(
    processors: dict[str, Processor], name: str, size: str, tmp_path: Path
) -> None:
    transformers_side.require()
    from transformers import AutoTokenizer

    case = GOLDENS["cases"][name]
    reference = AutoTokenizer.from_pretrained(tiny.write_checkpoint(tmp_path, big=size == "big"))
    tools = GOLDENS["tools"] if case["tools"] else None
    expected = reference.apply_chat_template(
        case["messages"], tools=tools, add_generation_prompt=True, **case["kwargs"]
    )["input_ids"]
    assert processors[size](case["messages"], tools, **case["kwargs"])["input_ids"].tolist() == [
        expected
    ]


def test_add_generation_prompt_can_be_left_out(processors: dict[str, Processor]) -> None:
    messages = [{"role": "user", "content": "Hi"}]
    text = processors["big"].apply_chat_template(messages, add_generation_prompt=False)
    assert text == "<bos><|turn>user\nHi<turn|>\n"
    ids = processors["big"](messages, add_generation_prompt=False)["input_ids"]
    assert processors["big"].tokenizer.decode(ids[0].tolist()) == text


# --- which template ------------------------------------------------------------------------------


def find(folder: Path, big: bool = False) -> str:
    return ChatTemplate.from_dir(folder, big).render([{"content": "x"}], None, False, True)


def test_lookup_order(tmp_path: Path) -> None:
    for big in (False, True):
        assert ChatTemplate.from_dir(tmp_path, big).source == (
            tiny.TEMPLATES / ("big.jinja" if big else "small.jinja")
        ).read_text(encoding="utf-8")
    (tmp_path / "chat_template.json").write_text(json.dumps({"chat_template": "from json"}))
    assert find(tmp_path) == "from json"
    tokenizer_config = {
        "bos_token": {"content": "<b>"},
        "chat_template": [
            {"name": "tool_use", "template": "other"},
            {"name": "default", "template": "{{ bos_token }}{{ messages[0].content }}"},
        ],
    }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(tokenizer_config))
    assert find(tmp_path) == "<b>x"
    (tmp_path / "chat_template.jinja").write_text("own {{ bos_token }}")
    assert find(tmp_path) == "own <b>"


def test_shipped_templates_are_googles() -> None:
    import hashlib

    digests = {
        name: hashlib.sha256((tiny.TEMPLATES / name).read_bytes()).hexdigest()[:16]
        for name in ("small.jinja", "big.jinja")
    }
    assert digests == {"small.jinja": "0a2c8073c878ab1d", "big.jinja": "ae53464bf3be2580"}


def test_damaged_templates(tmp_path: Path) -> None:
    for content in (b"{% if %}", b"{{ unclosed", b"\xff\xfe\x00"):
        (tmp_path / "chat_template.jinja").write_bytes(content)
        with pytest.raises(CheckpointError, match=r"chat_template\.jinja"):
            ChatTemplate.from_dir(tmp_path, big=False)
    (tmp_path / "chat_template.jinja").unlink()
    (tmp_path / "chat_template.json").write_text(json.dumps({"chat_template": 5}))
    with pytest.raises(CheckpointError, match="expected text"):
        ChatTemplate.from_dir(tmp_path, big=False)


# --- what a template may do ----------------------------------------------------------------------


def render(source: str, **message: Any) -> str:
    template = ChatTemplate(source, "a template", {})
    return template.render([{"role": "user", **message}], None, False, True)


def test_what_transformers_offers_is_there() -> None:
    assert render("{{ messages | tojson }}", a="<é>") == '[{"role": "user", "a": "<é>"}]'
    loop = "{% for i in range(9) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}"
    assert render(loop) == "01"
    assert render("{% generation %}seen{% endgeneration %}") == "seen"
    assert len(render("{{ strftime_now('%Y-%m-%d') }}")) == 10
    assert render("  {% if true %}\nx\n  {% endif %}") == "x\n"


def test_a_template_cannot_leave_the_sandbox() -> None:
    for source in (
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.append(1) }}",
        "{{ raise_exception.__globals__['os'] }}",
        "{{ namespace(a=1).__init__.__globals__['x'] }}",
        "{% include '/etc/passwd' %}",
    ):
        with pytest.raises(InputError, match="cannot render"):
            render(source)


def test_what_a_template_refuses_is_an_input_error() -> None:
    with pytest.raises(InputError, match=r"a template cannot render .*only two turns"):
        render("{{ raise_exception('only two\nturns') }}")
