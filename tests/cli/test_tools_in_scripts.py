"""``--tool`` where no conversation is: calls handed over as JSON, or run and answered."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gemma4_cli.tools.runner import ToolRunner
from tests.cli.conftest import Keyboard
from tests.cli.test_errors import one_line

Run = Callable[..., Any]

CALL = "<|tool_call>call:double{number:4}<tool_call|>"
COMMANDS = [("generate", "Twice four?"), ("chat",)]


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A file with one tool, which notes beside it that it ran."""
    file = tmp_path / "tools.py"
    file.write_text(
        "from pathlib import Path\n"
        "def double(number: int) -> int:\n"
        '    """Double a number.\n\n    Args:\n        number: The number.\n    """\n'
        "    Path(__file__).with_name('ran').touch()\n"
        "    return 2 * number\n"
    )
    return file


@pytest.fixture
def ran(tools: Path) -> Callable[[], bool]:
    return tools.with_name("ran").exists


@pytest.fixture(params=COMMANDS, ids=["generate", "chat"])
def command(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """Both commands that answer once; chat is asked through a pipe."""
    if request.param == ("chat",):
        monkeypatch.setattr("sys.stdin", io.StringIO("Twice four?"))
    return (*request.param, "-m", "tiny")


def test_calls_as_json_are_not_run(
    gemma4: Run, says: Run, command: tuple[str, ...], tools: Path, ran: Callable[[], bool]
) -> None:
    says(CALL)
    result = gemma4(*command, "--tool", tools, "--json")
    answer = json.loads(result.out)
    (call,) = answer["tool_calls"]
    assert call["function"] == {"name": "double", "arguments": {"number": 4}}
    assert (answer["finish_reason"], answer["tool_results"]) == ("tool_calls", [])
    assert (result.status, result.err, ran()) == (0, "", False)


def test_they_are_run_with_yes_tools(
    gemma4: Run, says: Run, sessions: list[Any], command: tuple[str, ...], tools: Path
) -> None:
    says(f"Let me see.{CALL}", "It is eight.")
    result = gemma4(*command, "--tool", tools, "--yes-tools")
    assert (result.status, result.out) == (0, "Let me see.\nIt is eight.\n")
    assert result.err.splitlines()[0] == "gemma4: the model calls double(number=4)"
    assert result.err.splitlines()[1].startswith("gemma4: double gave 8 (0.")
    assert sessions[0].tools[0]["function"]["name"] == "double"


def test_json_of_several_replies(
    gemma4: Run, says: Run, command: tuple[str, ...], tools: Path
) -> None:
    says(f"Let me see.{CALL}", "It is eight.")
    answer = json.loads(gemma4(*command, "--tool", tools, "--yes-tools", "--json").out)
    (call,), (given,) = answer["tool_calls"], answer["tool_results"]
    assert given == {
        "role": "tool",
        "tool_call_id": call["id"],
        "name": "double",
        "content": "8",
    }
    assert answer["text"] == "Let me see.\nIt is eight." and answer["finish_reason"] == "stop"
    usage, timings = answer["usage"], answer["timings"]
    # The tokenizer of the tiny model has a token for nearly every letter.
    assert usage["generated_tokens"] > len(f"Let me see.It is eight.{CALL}") / 2
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["generated_tokens"]
    assert timings["decode_tps"] == pytest.approx(
        (usage["generated_tokens"] - 2) / timings["decode_seconds"], rel=0.02
    )


def test_a_model_that_goes_on_asking(
    gemma4: Run, says: Run, command: tuple[str, ...], tools: Path
) -> None:
    rounds = 8
    says(*[CALL] * (rounds + 2))
    result = gemma4(*command, "--tool", tools, "--yes-tools")
    assert result.status == 1 and result.err.count("the model calls") == rounds
    assert "not run after 8 rounds" in result.err
    assert result.err.splitlines()[-1] == (
        "gemma4: it goes on asking for functions, so this is all it says"
    )


def test_nobody_to_ask(
    gemma4: Run, loaded: list[str], command: tuple[str, ...], tools: Path
) -> None:
    result = gemma4(*command, "--tool", tools)
    one_line(result, "--yes-tools", "--json")
    assert loaded == []


def test_a_file_that_is_not_there_is_told_before_that(
    gemma4: Run, loaded: list[str], command: tuple[str, ...], tmp_path: Path
) -> None:
    one_line(gemma4(*command, "--tool", tmp_path / "nothere.py"), "nothere.py cannot be read")
    assert loaded == []


def test_yes_to_no_tools(gemma4: Run, loaded: list[str], command: tuple[str, ...]) -> None:
    result = gemma4(*command, "--yes-tools")
    one_line(result, "--tool")
    assert loaded == []


@pytest.mark.parametrize(("typed", "runs"), [("yes", True), ("no", False)])
def test_generate_asks_at_a_terminal(
    gemma4: Run,
    says: Run,
    tools: Path,
    ran: Callable[[], bool],
    monkeypatch: pytest.MonkeyPatch,
    typed: str,
    runs: bool,
) -> None:
    class Screen(io.StringIO):
        def isatty(self) -> bool:
            return True

    says(CALL, "So it is.")
    monkeypatch.setattr("sys.stdin", Keyboard())
    monkeypatch.setattr("sys.stderr", screen := Screen())
    monkeypatch.setattr("builtins.input", lambda *_: typed)
    result = gemma4("generate", "Twice four?", "-m", "tiny", "--tool", tools)
    assert (result.status, result.out, ran()) == (0, "So it is.\n", runs)
    assert "run double?" in screen.getvalue()


def test_ctrl_c_in_a_tool_ends_the_command(
    gemma4: Run, says: Run, command: tuple[str, ...], tools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: Any) -> str:
        raise KeyboardInterrupt

    says(CALL, "unread")
    monkeypatch.setattr(ToolRunner, "_result", stopped)
    result = gemma4(*command, "--tool", tools, "--yes-tools")
    assert (result.status, result.out) == (130, "")


def test_a_call_without_tools_is_told(gemma4: Run, says: Run, command: tuple[str, ...]) -> None:
    says(CALL)
    result = gemma4(*command)
    told = "gemma4: the model asks for the function double: there is none without --tool\n"
    assert (result.status, result.out, result.err) == (1, "", told)
