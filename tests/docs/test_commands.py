"""docs/COMMANDS.md is what the program says of itself today."""

import re

import pytest

from tests.docs import commands


def test_the_page_is_what_the_commands_declare() -> None:
    page = commands.PAGE.read_text(encoding="utf-8")
    assert page == commands.text(), "run `make docs`"


@pytest.mark.parametrize("columns", ["20", "400"])
def test_the_page_does_not_depend_on_the_terminal(
    monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    usual = commands.text()
    monkeypatch.setenv("COLUMNS", columns)
    assert commands.text() == usual


def test_every_option_that_is_parsed_is_on_the_page() -> None:
    """From the parser alone, which the page's meanings and defaults are not taken from."""
    sections = dict(
        re.findall(
            r"^## gemma4 (\w+)\n(.*?)(?=^## |\Z)", commands.text(), flags=re.MULTILINE | re.DOTALL
        )
    )
    found = commands.commands()
    assert list(sections) == list(found)
    for name, command in found.items():
        shown = set(re.findall(r"(?<=`)--?[a-z][a-z-]*", sections[name].partition("| option")[2]))
        parsed = {
            option
            for param in command.params
            if param.param_type_name == "option"
            for option in (*param.opts, *param.secondary_opts)
        }
        assert shown == parsed, name


def test_defaults_and_bounds_are_said_once() -> None:
    page = commands.text()
    assert "[default:" not in page
    assert "| `--max-tokens N` | Longest reply, in tokens. | `2048`; at least 1 |" in page
    assert "| `--top-p X` | 1 turns it off. | 0 to 1 |" in page
    assert "| `--vad`, `--no-vad` |" in page and "| `--vad` |" in page


def test_the_variables_are_those_of_the_code() -> None:
    from gemma4_cli.console import TRACEBACK_VARIABLE
    from gemma4_cli.models import VARIABLE

    said = set(re.findall(r"^\| `(GEMMA4_\w+)`", commands.TOP, flags=re.MULTILINE))
    assert said == {VARIABLE, TRACEBACK_VARIABLE}
