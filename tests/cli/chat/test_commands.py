"""The commands of a conversation, line by line with a scripted keyboard and model."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.generation.tiny_model import picture

Run = Callable[..., Any]


def roles(session: Any) -> str:
    return "".join(message["role"][0] for message in session.messages)


@pytest.fixture
def talk(gemma4: Run, says: Run, types: Run, sessions: list[Any]) -> Run:
    """Runs a chat: the model's replies, and then the lines typed."""

    def run(replies: list[str], *lines: Any, options: tuple[Any, ...] = ()) -> Any:
        says(*replies)
        types(*lines)
        result = gemma4("chat", "-m", "tiny", *options)
        assert result.status == 0
        return result

    return run


def test_the_first_message_may_be_an_argument(
    gemma4: Run, says: Run, types: Run, sessions: list[Any]
) -> None:
    says("Hello", "ok")
    types("Go on")
    result = gemma4("chat", "Hi there", "-m", "tiny")
    assert result.status == 0
    assert [m["content"] for m in sessions[0].messages] == ["Hi there", "Hello", "Go on", "ok"]


def test_retry_undo_and_system(talk: Run, sessions: list[Any]) -> None:
    result = talk(
        ["bad", "good", "more", "arr"],
        *("Hi", "/retry", "Go on", "/undo", "/system", "/system Talk like a pirate.", "/system"),
        *("And you?", '/system ""', "/undo", "/undo", "/undo", "/retry", "/copy"),
    )
    assert "Talk like a pirate.\n" in result.out
    assert result.err.count("taken back") == 3
    assert "there is nothing to take back" in result.err
    assert "no message to answer again" in result.err and "no reply to copy" in result.err
    assert sessions[0].messages == []


def test_edit_sends_what_the_editor_made_of_it(
    talk: Run, sessions: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the picture it had; and what was waiting goes on waiting."""
    editor = tmp_path / "edit.py"
    editor.write_text("import sys; f = open(sys.argv[1], 'r+'); t = f.read(); f.write(' Or not?')")
    monkeypatch.setenv("EDITOR", f"{sys.executable} {editor}")
    monkeypatch.delenv("VISUAL", raising=False)
    one, two = (
        picture(tmp_path / name, colour) for name, colour in (("1.png", "red"), ("2.png", "blue"))
    )
    talk(
        ["Hello", "red", "blue", "green"],
        *("Hi", f"{one} Is it?", f"/image {two}", "/edit", "And that?"),
        options=("--image-tokens", 70),
    )
    contents = [m["content"] for m in sessions[0].messages if m["role"] == "user"]
    assert contents[0] == "Hi"
    assert [part.get("text") or part["file"]["path"] for part in contents[1]] == [
        one,
        "Is it? Or not?",
    ]
    assert [part.get("text") or part["file"]["path"] for part in contents[2]] == [two, "And that?"]


@pytest.mark.parametrize(
    ("editor", "said"),
    [("true", "nothing was changed"), ("false", "status 1"), ("/no/such/editor", "does not start")],
)
def test_an_edit_that_changes_nothing(
    talk: Run, sessions: list[Any], monkeypatch: pytest.MonkeyPatch, editor: str, said: str
) -> None:
    monkeypatch.setenv("VISUAL", editor)
    result = talk(["Hello"], "Hi", "/edit")
    assert said in result.err and roles(sessions[0]) == "ua"


def test_ctrl_c_in_the_editor_is_the_editors(
    talk: Run, sessions: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which goes on for longer than Python waits before it kills what it runs."""
    editor = tmp_path / "edit.py"
    editor.write_text(
        "import os, signal, sys, time\n"
        "os.kill(os.getppid(), signal.SIGINT)\n"
        "time.sleep(1)\n"
        "open(sys.argv[1], 'a').write(' Really?')\n"
    )
    monkeypatch.setenv("VISUAL", f"{sys.executable} {editor}")
    result = talk(["Hello", "Yes"], "Hi", "/edit")
    assert [m["content"] for m in sessions[0].messages] == ["Hi Really?", "Yes"]
    assert "stopped" not in result.err


def test_settings(talk: Run, sessions: list[Any]) -> None:
    result = talk(
        ["Hello there", "ok"],
        *("/set max_tokens 5", "/set", "Hi", "/set max_tokens=default", "Go on"),
        *("/set seed x", "/set top", "/set top_k 3", "/set top_p", "/set"),
    )
    assert [m["content"] for m in sessions[0].messages[1::2]] == ["Hello", "ok"]
    assert "max_tokens 5\n" in result.out and "max_tokens default\ntemp" not in result.out
    errors = [line for line in result.err.splitlines() if "expected" in line]
    assert len(errors) == 3 and "whole number" in errors[0]
    assert result.out.splitlines()[-5:] == [
        *("temperature default", "top_p default", "top_k 3", "seed default", "max_tokens default")
    ]


def test_thinking(talk: Run, sessions: list[Any]) -> None:
    result = talk(
        ["<|channel>thought\nhm<channel|>Yes", "No"],
        *(
            "/think on",
            "Hi",
            "/think off",
            "Hi",
            "/think hide",
            "/think show",
            "/think",
            "/think x",
        ),
    )
    assert sessions[0].messages[1]["reasoning"] == "hm" and "hm" in result.err
    assert not sessions[0].enable_thinking
    assert result.err.count("/think on|off|show|hide") == 2


def test_a_budget_is_of_the_pictures_that_follow(
    talk: Run, sessions: list[Any], tmp_path: Path
) -> None:
    path = picture(tmp_path / "a.png", size=(800, 600))
    result = talk(
        ["a", "b"],
        *(f"{path} ?", "/budget", "/budget 71", "/budget 140", f"{path} ?", "/stats"),
        options=("--image-tokens", 70),
    )
    first, second = (m["content"][0] for m in sessions[0].messages[::2])
    assert (first["max_soft_tokens"], second["max_soft_tokens"]) == (70, 140)
    assert "expected one of 70, 140, 280, 560, 1120" in result.err
    assert "63 tokens" in result.err and "seen at" in result.err
    rows = [line.split() for line in result.out.splitlines()]
    (turn,) = (row for row in rows if row and row[0] == "2")
    assert int(turn[2]) < int(turn[1]) - 60  # the first picture was not read again


def test_stats_hold_what_every_turn_read(talk: Run) -> None:
    result = talk(["one", "two", "three"], "A question", "Another", "/retry", "/stats")
    rows = [line.split() for line in result.out.splitlines()]
    turns = {row[0]: (int(row[1]), int(row[2])) for row in rows if row and row[0] in "123"}
    assert turns["1"][0] == turns["1"][1]
    assert turns["2"][1] < turns["2"][0]
    assert turns["3"][0] == turns["2"][0] and turns["3"][1] < 10


def test_another_model_goes_on(
    talk: Run, sessions: list[Any], loaded: list[str], tmp_path: Path
) -> None:
    """Ids stay behind; a model that cannot go on is not switched to."""
    path = picture(tmp_path / "a.png")
    result = talk(
        ["red", "still red"],
        *(f"{path} ?", "/model", "/model other", "Sure?", "/model"),
        options=("--image-tokens", 70, "-s", "Be brief."),
    )
    assert loaded == ["tiny", "other"]
    assert roles(sessions[1]) == "suaua" and roles(sessions[0]) == "sua"
    assert "token_ids" not in sessions[1].messages[2]
    assert "tiny\n" in result.out and "other\n" in result.out


def test_a_model_that_cannot_hear_does_not_go_on(
    talk: Run, sessions: list[Any], recording: Run
) -> None:
    result = talk(["one", "two"], f"{recording()} ?", "/model 31b", "Sure?")
    assert "audio" in result.err.splitlines()[-1]
    assert roles(sessions[0]) == "uaua"  # the first session went on


def test_saving_loading_and_going_on(
    talk: Run, gemma4: Run, types: Run, says: Run, sessions: list[Any], tmp_path: Path, state: Path
) -> None:
    path, file = picture(tmp_path / "a.png"), tmp_path / "talk.json"
    talk(
        ["red", "Hello"],
        *(f"{path} ?", f"/save {file}", "/clear", "Hi"),
        options=("--image-tokens", 70, "-t", 0),
    )
    assert json.loads(file.read_text())["model"] == "tiny"
    says("blue", "ok")
    types(f"/load {file}", "Sure?")
    assert gemma4("chat", "-m", "tiny").status == 0
    assert roles(sessions[1]) == "uaua" and sessions[1].messages[-1]["content"] == "blue"
    says("yes")
    types("Really?")
    assert gemma4("chat", "--continue").status == 0  # with the model it was held with
    assert roles(sessions[2]) == "uauaua"
    assert len(list((state / "sessions").glob("*.json"))) == 4  # two of them loaded or cleared


def test_a_session_that_is_broken_changes_nothing(
    talk: Run, sessions: list[Any], tmp_path: Path
) -> None:
    broken = tmp_path / "talk.json"
    broken.write_text('{"gemma4_session": 1, "model": "tiny", "settings": {}, "messages": [{}]}')
    result = talk(["Hello", "ok"], "Hi", f"/load {broken}", f"/load {tmp_path}", "/load", "Go on")
    assert "messages[0]" in result.err and roles(sessions[0]) == "uaua"
    assert len(result.err.splitlines()) == 3


@pytest.mark.parametrize("command", ["/save", "/export", "/load"])
def test_folders_are_not_made_up(talk: Run, tmp_path: Path, command: str) -> None:
    result = talk(["Hello"], "Hi", f"{command} {tmp_path / 'no' / 'x'}", f"{command} {tmp_path}")
    assert "there is no folder" in result.err and "is a folder" in result.err
    assert not (tmp_path / "no").exists()


def test_nothing_to_go_on_with(gemma4: Run, says: Run, types: Run) -> None:
    says()
    types()
    result = gemma4("chat", "--continue", "-m", "tiny")
    assert result.status == 1 and "no conversation" in result.err


def test_overwriting_is_asked_about(talk: Run, tmp_path: Path) -> None:
    mine = tmp_path / "mine.md"
    mine.write_text("my notes")
    talk(
        ["Hello"],
        *("Hi", f"/export {mine}", "", f"/save {mine}", "c", f"/export {tmp_path / 'new.md'}"),
    )
    assert mine.read_text() == "my notes" and "Hello" in (tmp_path / "new.md").read_text()
    talk(["Hello"], "Hi", f"/export {mine}", "o")
    assert "Hello" in mine.read_text()


def test_the_nearest_command_is_suggested(talk: Run) -> None:
    result = talk([], "/unod", "/help me", "/zzz")
    lines = result.err.splitlines()
    assert "did you mean /undo?" in lines[0] and "takes nothing" in lines[1]
    assert "did you mean" not in lines[2]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("/UNOD", "did you mean /undo?"),
        ("/h", "did you mean /help?"),
        ("/think-on", "did you mean /think?"),
        ("/set2", "did you mean /set?"),
        ("/", "/help lists"),
    ],
)
def test_what_looks_like_a_command_is_not_sent(
    talk: Run, sessions: list[Any], line: str, said: str
) -> None:
    assert said in talk([], line).err and sessions[0].messages == []


def test_commands_in_capitals_and_a_call_for_help(talk: Run) -> None:
    assert talk([], "/?").out == talk([], "/HELP").out != ""


def test_figures_in_a_narrow_terminal(talk: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    result = talk(["Hello"], "Hi", "/stats")
    lines = result.out[result.out.index("turn 1") :].splitlines()
    assert len(lines) == 7 and all(len(line) <= 20 for line in lines[:6])


@pytest.mark.parametrize("line", ["/mic", "/voice on"])
def test_a_model_without_ears(gemma4: Run, says: Run, types: Run, line: str) -> None:
    says()
    types(line)
    result = gemma4("chat", "-m", "31b")
    assert result.status == 0 and "cannot hear" in result.err
    assert gemma4("chat", "-m", "31b", "--mic").status == 1


@pytest.mark.parametrize("line", ["/mic", "/voice on"])
def test_without_the_microphones_library(
    gemma4: Run, says: Run, types: Run, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    """What is missing is said at once, not after a request to speak."""
    says()
    types(line)
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    result = gemma4("chat", "-m", "tiny")
    assert result.status == 0 and "gemma4-mlx[mic]" in result.err
    assert "Enter" not in result.err.replace("Alt-Enter", "") and "Enter" not in result.out
