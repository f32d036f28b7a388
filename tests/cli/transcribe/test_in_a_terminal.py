"""The real program with the demo model: what stands on the screen, and what is left of it."""

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pexpect
import pysubs2
import pytest
import soundfile

from tests.cli.chat.program import Program, gemma4
from tests.cli.chat.pulse import needs_pulse, software_microphone

DEMO = Path(__file__).parents[3] / "notebooks" / "demo_model"
DIGITS = DEMO / "digits.wav"
WORDS = (DEMO / "digits.txt").read_text().strip()
RATE = 16_000

Spoken = Callable[..., Path]


@pytest.fixture
def spoken(tmp_path: Path) -> Spoken:
    """A recording in which the digits are said so often, with pauses between."""

    def write(name: str, times: int) -> Path:
        digits, _ = soundfile.read(DIGITS, dtype="float32")
        once = np.concatenate([digits, np.zeros(2 * RATE, np.float32)])
        soundfile.write(tmp_path / name, np.tile(once, times), RATE)
        return tmp_path / name

    return write


def transcribe(*arguments: object) -> list[object]:
    """A window at a time, so that the first text comes soon."""
    return ["transcribe", *arguments, "-m", "demo", "--batch-size", "1", "--window", "7"]


def no_progress(program: Program) -> bool:
    """Whether nothing is left of it, and the cursor is back."""
    return not any(sign in program.text for sign in "━⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏×") and (
        not program.screen.cursor.hidden
    )


def test_text_and_progress(tmp_path: Path, spoken: Spoken) -> None:
    """Line by line on a terminal, above a line for the file and one for all."""
    a, b = spoken("a.wav", 40), spoken("b.wav", 1)
    with gemma4(*transcribe(a, b), home=tmp_path) as program:
        text = program.wait_for(f"== {a}\n{WORDS}\n", "a.wav: 0:", "1 of 2: 0:", "× real time")
        lines = [line for line in text.splitlines() if "× real time" in line]
        assert [" of 4:23.7, " in line for line in lines] == [True, False]
        assert [" of 4:30.3, " in line for line in lines] == [False, True]
        assert all(" left, " in line for line in lines)
        program.type("\x03")
        assert program.wait_for_end() == 130
        header, *spoken_lines, stopped = program.text.strip().splitlines()
        assert header == f"== {a}" and set(spoken_lines) == {WORDS}
        assert stopped.startswith("gemma4: stopped at 0:") and stopped.endswith(str(a))
        assert no_progress(program)


@pytest.mark.parametrize("columns", [20, 100])
def test_ctrl_c(tmp_path: Path, spoken: Spoken, columns: int) -> None:
    """The first file is whole, the second is not there, and nothing of the progress is left."""
    a, b, out = spoken("a.wav", 1), spoken("b.wav", 40), tmp_path / "out"
    with gemma4(*transcribe(a, b, "-o", out), home=tmp_path, columns=columns) as program:
        until = time.monotonic() + 60
        while program.text.replace("\n", "").count(WORDS) < 2:  # dimmed, as they are heard
            assert program.read() and time.monotonic() < until, program.text
        program.type("\x03")
        assert program.wait_for_end() == 130
        told = "".join(program.text.split())  # a line may be broken at a blank or anywhere else
        assert re.search(r"gemma4:stoppedat0:\d\d.\dof", told)
        assert f"of{b};1of2fileswritten,--resumegoesonwiththerest" in told
        assert f"gemma4:{a}:writtento{out}/a.txt" in told
        assert no_progress(program) and "b.wav:0:" not in told and "2of2" not in told
    assert [path.name for path in out.iterdir()] == ["a.txt"]
    assert (out / "a.txt").read_text() == f"{WORDS}\n"


def test_plain_terminals(tmp_path: Path) -> None:
    with gemma4(*transcribe(DIGITS), home=tmp_path, env={"NO_COLOR": "1"}) as program:
        assert program.wait_for_end() == 0
        assert program.text.strip() == WORDS
        colours = [code for code in ("\x1b[3", "\x1b[9", "\x1b[2m") if code in program.raw]
        assert colours == []
    with gemma4(*transcribe(DIGITS), home=tmp_path, env={"TERM": "dumb"}) as program:
        assert program.wait_for_end() == 0
        assert program.text.strip().endswith(WORDS) and "\x1b" not in program.raw


def test_a_pipe_gets_the_text_and_the_terminal_the_progress(tmp_path: Path) -> None:
    gone = tmp_path / "gone.wav"
    command = shlex.join(map(str, [sys.executable, "-m", "gemma4_cli", *transcribe(DIGITS, gone)]))
    with in_a_shell(f"{command} > {tmp_path}/out", tmp_path) as program:
        assert program.wait_for_end() == 1
        assert "digits.wav: 0:00.0 of 0:04.6" in program.raw
        assert no_progress(program) and WORDS not in program.text
    assert (tmp_path / "out").read_text() == f"== {DIGITS}\n{WORDS}\n"

    with in_a_shell(f"{command} 2> {tmp_path}/err", tmp_path) as program:
        assert program.wait_for_end() == 1
        assert program.text.strip() == f"== {DIGITS}\n{WORDS}" and "\x1b" not in program.raw
    assert (tmp_path / "err").read_text() == (
        f"gemma4: {gone} does not exist: check the path of the recording\n"
        f"gemma4: 1 of 2 files failed: {gone}\n"
    )


@contextmanager
def in_a_shell(line: str, home: Path) -> Iterator[Program]:
    environment = {**os.environ, "TERM": "xterm", "XDG_STATE_HOME": str(home / "state")}
    child = pexpect.spawn(
        "sh", ["-c", line], encoding="utf-8", env=environment, dimensions=(24, 300)
    )
    try:
        yield Program(child, 300, 24)
    finally:
        child.close(force=True)


def test_stdin_into_every_format(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gemma4_cli", *map(str, transcribe("-", "-o", tmp_path))]
    with DIGITS.open("rb") as recording:
        done = subprocess.run(
            [*command, "-f", "all"], stdin=recording, capture_output=True, text=True, check=True
        )
    assert done.stdout == "" and len(done.stderr.splitlines()) == 5
    for form in ("srt", "vtt"):
        (cue,) = pysubs2.load(str(tmp_path / f"stdin.{form}"))
        assert cue.text == WORDS and 0 <= cue.start < 500 and 4000 < cue.end < 4600
    assert (tmp_path / "stdin.txt").read_text() == f"{WORDS}\n"
    assert json.loads((tmp_path / "stdin.json").read_text())["text"] == WORDS
    assert (tmp_path / "stdin.tsv").read_text().splitlines()[1].endswith(f"\t{WORDS}")


@needs_pulse
def test_the_microphone(tmp_path: Path) -> None:
    """The words stand on the screen while it listens; Ctrl-C is its end, not an error."""
    command = ["transcribe", "--mic", "-m", "demo", "-o", tmp_path / "out"]
    with (
        software_microphone() as device,
        gemma4(*command, home=tmp_path, env=device.environment) as program,
    ):
        program.wait_for("Ctrl-C ends", "listening: 0:0")
        device.play(DIGITS)
        program.wait_for(WORDS, "listening: 0:")
        program.type("\x03")
        assert program.wait_for_end() == 0
        assert no_progress(program) and program.text.count(WORDS) == 1
    (file,) = (tmp_path / "out").iterdir()
    assert file.name.startswith("microphone-") and file.read_text() == f"{WORDS}\n"
    assert f"written to {file}" in program.text.replace("\n", "")
