"""The line editor, driven by keys through prompt_toolkit's pipe input, and in pseudo-terminals."""

import io
import os
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput

from gemma4_cli.chat.line import line_editor
from gemma4_cli.chat.line.line_editor import LineEditor

WORDS = {"/image PATH": "a picture", "/think on|off|show": "thoughts", "/clear": "forget"}

ENTER, ALT_ENTER, CTRL_J, TAB, ESCAPE, UP = "\r", "\x1b\r", "\n", "\t", "\x1b", "\x1b[A"
CTRL_C, CTRL_D = "\x03", "\x04"


def pasted(text: str) -> str:
    return f"\x1b[200~{text}\x1b[201~"


@pytest.fixture
def keyboard(monkeypatch: pytest.MonkeyPatch) -> Iterator[PipeInput]:
    monkeypatch.setattr(line_editor, "_is_terminal", lambda: True)
    with create_pipe_input() as pipe, create_app_session(input=pipe, output=DummyOutput()):
        yield pipe


@pytest.fixture
def editor(tmp_path: Path) -> Callable[..., LineEditor]:
    def make(vi: bool = False) -> LineEditor:
        return LineEditor(lambda: WORDS, tmp_path / "state" / "history", vi)

    return make


Make = Callable[..., LineEditor]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("Hello" + ENTER, "Hello"),
        ("one" + ALT_ENTER + "two" + ESCAPE + CTRL_J + "three" + ENTER, "one\ntwo\nthree"),
        ("typed ahead" + CTRL_J, "typed ahead"),
        ('"""one' + ENTER + "two" + ENTER + 'three"""' + ENTER, "one\ntwo\nthree"),
        ('"""' + ENTER + "  one" + ENTER + ENTER + '"""' + ENTER, "  one\n"),
        ('"""' + ENTER + '""" more' + ENTER + '"""' + ENTER, '""" more'),
        ('one """' + ENTER, 'one """'),
        (pasted("one\r\ntwo\nthree\n") + ENTER, "one\ntwo\nthree\n"),
        ("see " + pasted("a\tb\n") + "end" + ENTER, "see a\tb\nend"),
        (pasted("/clear\n/exit\n") + CTRL_C + "kept" + ENTER, "kept"),
        ("wrong" + CTRL_C + "right" + ENTER, "right"),
        ("a" + ALT_ENTER + "b" + CTRL_C + "c" + ENTER, "c"),
        ("xy" + CTRL_D + ENTER, "xy"),
        ("word two\x17\x01>" + ENTER, ">word "),
        ("Grüße 🐈 名前" + ENTER, "Grüße 🐈 名前"),
        (ENTER, ""),
    ],
)
def test_keys(keyboard: PipeInput, editor: Make, keys: str, message: str) -> None:
    keyboard.send_text(keys)
    assert editor().read("> ") == message


@pytest.mark.parametrize(("key", "error"), [(CTRL_C, KeyboardInterrupt), (CTRL_D, EOFError)])
def test_leaving(keyboard: PipeInput, editor: Make, key: str, error: type[BaseException]) -> None:
    keyboard.send_text(key)
    with pytest.raises(error):
        editor().read("> ")


def test_a_message_to_change(keyboard: PipeInput, editor: Make) -> None:
    keyboard.send_text("!" + ENTER)
    assert editor().read("> ", default="What is it\nthen") == "What is it\nthen!"


def test_vi_keys(keyboard: PipeInput, editor: Make) -> None:
    chat = editor(vi=True)
    keyboard.send_text("one two" + ESCAPE)
    keyboard.send_text("bcwsix" + ENTER)
    assert chat.read("> ") == "one six"
    keyboard.send_text("one" + ALT_ENTER + "two" + ENTER)
    assert chat.read("> ") == "one\ntwo"


def test_history_across_runs(keyboard: PipeInput, editor: Make, tmp_path: Path) -> None:
    keyboard.send_text('"""a' + ENTER + 'b"""' + ENTER)
    assert editor().read("> ") == "a\nb"
    keyboard.send_bytes(b"second \xff\r")  # not UTF-8, as a file name may be
    chat = editor()
    assert chat.read("> ").startswith("second")
    keyboard.send_text("\x12a" + ENTER + ENTER)  # Ctrl-R looks for it
    assert editor().read("> ") == "a\nb"
    file = tmp_path / "state" / "history"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.chmod(0o644)
    keyboard.send_text("third" + ENTER)
    chat.read("> ")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_history_that_cannot_be_kept(
    keyboard: PipeInput, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    for history in (tmp_path / "file" / "history", tmp_path):
        chat = LineEditor(lambda: WORDS, history, vi=False)
        for line in ("one", "two"):
            keyboard.send_text(line + ENTER)
            assert chat.read("> ") == line
        told = capsys.readouterr().err
        assert told.count("is not kept for the next conversation") == 1
        assert told.startswith(f"gemma4: {history} cannot be used (") and told.count("\n") == 1
        keyboard.send_text(UP + UP + ENTER)
        assert chat.read("> ") == "one", "it lives in memory"


def press(keyboard: PipeInput, *keys: str) -> threading.Thread:
    """Keys one after the other, each when the one before has had its effect."""

    def work() -> None:
        before = ""
        for key in keys:
            time.sleep(1.0 if before == TAB else 0.3)  # completions are found in a thread
            keyboard.send_text(key)
            before = key

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_completion_of_commands(keyboard: PipeInput, editor: Make) -> None:
    press(keyboard, "/cl", TAB, ENTER)
    assert editor().read("> ") == "/clear"
    press(keyboard, "/th", TAB, "off" + ENTER)
    assert editor().read("> ") == "/think off"


def test_enter_on_a_chosen_completion_does_not_send(
    keyboard: PipeInput, editor: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("ab 1.png", "ab 2.png"):
        (tmp_path / name).touch()
    press(keyboard, "/image", " a", TAB, TAB, TAB, ENTER, " end" + ENTER)
    assert editor().read("> ") == "/image ab\\ 2.png end"


def test_tab_goes_on_after_the_only_completion(
    keyboard: PipeInput, editor: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "only.png").touch()
    # A second before the first Tab, in which the menu opens by itself.
    press(keyboard, "/im", "", "", "", TAB, TAB, ENTER)
    assert editor().read("> ") == "/image only.png"


# --- without a terminal that can be drawn on -----------------------------------------------------


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def plain_input(monkeypatch: pytest.MonkeyPatch, *lines: str) -> list[str]:
    prompts: list[str] = []
    waiting = iter(lines)

    def read(prompt: str = "") -> str:
        prompts.append(prompt)
        print(prompt, end="")
        try:
            return next(waiting)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr("builtins.input", read)
    return prompts


def test_plain_lines(monkeypatch: pytest.MonkeyPatch, editor: Make) -> None:
    prompts = plain_input(monkeypatch, "Hello", '"""one', "two", 'three"""', '"""cut')
    chat = editor()
    assert [chat.read("> ") for _ in range(3)] == ["Hello", "one\ntwo\nthree", '"""cut']
    assert prompts == ["> ", "> ", "… ", "… ", "> ", "… "]
    with pytest.raises(EOFError):
        chat.read("> ")


def test_a_dumb_terminal(monkeypatch: pytest.MonkeyPatch, editor: Make) -> None:
    for name in ("stdin", "stdout"):
        monkeypatch.setattr(sys, name, Screen())
    monkeypatch.setenv("TERM", "dumb")
    plain_input(monkeypatch, "Hello")
    assert editor().read("> ") == "Hello"
    assert sys.stdout.getvalue() == "> "  # type: ignore[attr-defined]


def test_the_prompt_stays_out_of_what_is_piped_on(
    monkeypatch: pytest.MonkeyPatch, editor: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", Screen())
    monkeypatch.setattr(sys, "stderr", Screen())
    plain_input(monkeypatch, "Hello")
    assert editor().read("[cat.png] > ") == "Hello"
    assert capsys.readouterr().out == ""
    assert sys.stderr.getvalue() == "[cat.png] > "  # type: ignore[attr-defined]


def test_no_streams_at_all(monkeypatch: pytest.MonkeyPatch, editor: Make) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises((EOFError, RuntimeError)):
        editor().read("> ")


# --- in a pseudo-terminal ------------------------------------------------------------------------

PROGRAM = """
import sys
from pathlib import Path
from gemma4_cli.chat.line.line_editor import LineEditor
words = {"/image PATH": "a picture", "/clear": "forget"}
editor = LineEditor(lambda: words, Path(sys.argv[1]), vi=False)
while True:
    try:
        print("GOT", repr(editor.read(sys.argv[2])), flush=True)
    except KeyboardInterrupt:
        print("INTERRUPTED", flush=True)
    except EOFError:
        print("END", flush=True)
        break
"""


def spawn(tmp_path: Path, columns: int, prompt: str = "> ", **env: str) -> pexpect.spawn:
    return pexpect.spawn(
        sys.executable,
        ["-c", PROGRAM, str(tmp_path / "history"), prompt],
        encoding="utf-8",
        dimensions=(24, columns),
        env={**os.environ, "TERM": "xterm", "LANG": "C.UTF-8", **env},
        timeout=20,
    )


@pytest.mark.parametrize(("columns", "tells_its_cursor"), [(20, False), (100, True)])
def test_in_a_terminal(tmp_path: Path, columns: int, tells_its_cursor: bool) -> None:
    prompt = "[Screenshot 2026-05-01 at 10.15.32.png] > "
    asks = {"PROMPT_TOOLKIT_NO_CPR": "1"} if tells_its_cursor else {}
    child = spawn(tmp_path, columns, prompt, **asks)
    child.logfile_read = io.StringIO()
    try:
        child.expect_exact("\x1b[?2004h")  # it asks for pastes to be marked as such
        long = "a line longer than twenty columns, " * 3
        child.send(f"{long}end\r")
        child.expect_exact(f"GOT '{long}end'")
        child.send("\x1b[200~pasted\rlines\r\x1b[201~\r")
        child.expect_exact(r"GOT 'pasted\nlines\n'")
        child.send("/im")
        child.expect_exact("picture" if columns > 20 else "/image")  # the menu, as it is typed
        child.send("\x03")
        child.send("one\x1b\rtwo\r")
        child.expect_exact(r"GOT 'one\ntwo'")
        child.send("\x03")
        child.expect_exact("INTERRUPTED")
        child.send("\x1b[A\x1b[A\r")
        child.expect_exact("GOT")
        child.send("\x04")
        child.expect_exact("END")
        child.expect(pexpect.EOF)
    finally:
        child.close(force=True)
    assert child.exitstatus == 0
    assert "WARNING" not in child.logfile_read.getvalue()


def test_a_terminal_that_goes_away(tmp_path: Path) -> None:
    child = spawn(tmp_path, 80)
    child.expect_exact("\x1b[?2004h")
    child.close(force=False)
    assert not child.isalive()


def test_a_dumb_pseudo_terminal(tmp_path: Path) -> None:
    child = spawn(tmp_path, 80, TERM="dumb")
    try:
        child.expect_exact("> ")
        child.send('"""a\n')
        child.expect_exact("… ")
        child.send('b"""\n')
        child.expect_exact(r"GOT 'a\nb'")
        assert "\x1b" not in str(child.before)
        child.send("\x04")
        child.expect_exact("END")
    finally:
        child.close(force=True)
