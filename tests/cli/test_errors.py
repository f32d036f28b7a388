"""Bad input on the command line: one clear line on stderr and the right exit status."""

import argparse
import errno
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gemma4_cli import once
from gemma4_cli.__main__ import main
from gemma4_mlx.text.attend import on_gpu
from tests.generation.tiny_model import picture

Run = Callable[..., Any]


def one_line(result: Any, *words: str) -> None:
    """Exit status 1, nothing on stdout, one line on stderr (after the one about the demo)."""
    lines = [line for line in result.err.splitlines() if "built-in demo" not in line]
    assert (result.status, result.out, len(lines)) == (1, "", 1), result
    assert lines[0].startswith("gemma4: ")
    for word in words:
        assert word in lines[0]


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["generate"],
        ["generate", "Hi", "--temperature", "-1"],
        ["generate", "Hi", "--max-tokens", "0"],
        ["generate", "Hi", "--nonsense"],
        ["transcribe"],
        ["transcribe", "a.wav", "--format", "doc"],
        ["transcribe", "a.wav", "--format", "all"],
        ["transcribe", "a.wav", "--mic"],
        ["transcribe", "a.wav", "--start", "soon"],
        ["transcribe", "a.wav", "--start", "1:75"],
        ["transcribe", "a.wav", "--resume"],
        ["transcribe", "a.wav", "--max-line-count", "2"],
        ["transcribe", "a.wav", "--output-template", "{stem}.{nonsense}"],
        ["transcribe", "a.wav", "--output-template", "{stem"],
        ["transcribe", "a.wav", "-o", "x", "-f", "all", "--output-template", "{stem}.txt"],
        ["chat", "--top-p", "1.5"],
        ["chat", "--seed", "x"],
        ["chat", "--ple", "disk"],
        ["chat", "--kv-bits", "4"],
        ["generate", "Hi", "--kv-bits", "16"],
        ["transcribe", "a.wav", "--ple", "nowhere"],
    ],
)
def test_wrong_usage_is_2(gemma4: Run, loaded: list[str], arguments: list[str]) -> None:
    result = gemma4(*arguments)
    assert (result.status, result.out, loaded) == (2, "", [])
    assert "Usage: gemma4" in result.err and "Traceback" not in result.err


def test_no_command_shows_the_help(gemma4: Run) -> None:
    result = gemma4()
    assert "transcribe" in result.out + result.err


@pytest.mark.parametrize("option", ["--image", "--audio", "--video"])
@pytest.mark.parametrize("command", [["generate", "Hi"], ["chat"]])
def test_missing_media_before_the_model_is_loaded(
    gemma4: Run, loaded: list[str], command: list[str], option: str
) -> None:
    one_line(gemma4(*command, option, "none.xyz"), "none.xyz does not exist")
    assert loaded == []


def test_a_folder_is_no_picture(gemma4: Run, loaded: list[str], tmp_path: Path) -> None:
    one_line(gemma4("generate", "Hi", "-i", tmp_path), str(tmp_path), "not a file")


def test_damaged_pictures(gemma4: Run, loaded: list[str], tmp_path: Path) -> None:
    whole = Path(picture(tmp_path / "whole.png")).read_bytes()
    for name, content in {
        "half.png": whole[: len(whole) // 2],
        "empty.png": b"",
        "text.png": b"this is no picture",
    }.items():
        (tmp_path / name).write_bytes(content)
        one_line(gemma4("generate", "Hi", "-i", tmp_path / name), name)


def test_damaged_recordings(gemma4: Run, recording: Run, loaded: list[str], tmp_path: Path) -> None:
    whole = recording().read_bytes()
    for name, content in {
        "half.wav": whole[:30],
        "empty.wav": b"",
        "text.wav": b"this is no recording\n" * 50,
    }.items():
        (tmp_path / name).write_bytes(content)
        one_line(gemma4("transcribe", tmp_path / name), name)
        one_line(gemma4("generate", "Hi", "-a", tmp_path / name), name)


def test_a_recording_for_a_model_that_cannot_hear(
    gemma4: Run, recording: Run, loaded: list[str]
) -> None:
    path = recording()
    one_line(gemma4("transcribe", path, "-m", "31b"), "no audio tower")
    one_line(gemma4("generate", "Hi", "-a", path, "-m", "31b"), "no audio tower")


def test_a_recording_too_long_for_one_question(
    gemma4: Run, recording: Run, loaded: list[str]
) -> None:
    one_line(gemma4("generate", "Hi", "-a", recording(seconds=31)), "30 s", "gemma4 transcribe")


def test_a_prompt_longer_than_the_context(gemma4: Run, loaded: list[str]) -> None:
    one_line(gemma4("generate", "x" * 5000), "4096", "shorten")


@pytest.mark.parametrize("tokens", [71, 0, -70])
@pytest.mark.parametrize("command", [["generate", "Hi"], ["chat"]])
def test_a_budget_that_does_not_exist(
    gemma4: Run, loaded: list[str], tmp_path: Path, command: list[str], tokens: int
) -> None:
    path = picture(tmp_path / "a.png")
    result = gemma4(*command, "-i", path, "--image-tokens", tokens)
    assert (result.status, result.out, loaded) == (2, "", [])
    assert f"'--image-tokens': {tokens} is not" in result.err and "1120" in result.err


def test_models_that_are_none(gemma4: Run, tmp_path: Path) -> None:
    one_line(gemma4("generate", "Hi", "-m", "nonsense"), "nonsense")
    one_line(gemma4("generate", "Hi", "-m", tmp_path), "config.json")
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    one_line(gemma4("generate", "Hi", "-m", tmp_path), "llama")


def test_an_unknown_language(gemma4: Run, recording: Run, loaded: list[str]) -> None:
    one_line(gemma4("transcribe", recording(), "-l", "Klingon"), "Klingon")
    assert loaded == []


def test_an_empty_prompt(gemma4: Run, loaded: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    one_line(gemma4("generate", ""), "empty")
    one_line(gemma4("generate", " \n"), "empty")


def test_a_bug_is_one_line_and_says_how_to_see_more(
    gemma4: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_args: Any) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(once, "open_model", broken)
    one_line(gemma4("generate", "Hi"), "ZeroDivisionError", "oops", "GEMMA4_TRACEBACK=1")
    monkeypatch.setenv("GEMMA4_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        gemma4("generate", "Hi")


@pytest.mark.skipif(
    on_gpu() or shutil.which("g++") is None,
    reason="needs g++ and MLX on a CPU, for which it builds",
)
def test_a_kernel_that_cannot_be_built_or_loaded(tmp_path: Path) -> None:
    """In a process of its own, whose temporary folder holds no kernels yet."""
    programs, kernels = tmp_path / "bin", tmp_path / "kernels"
    programs.mkdir()
    kernels.mkdir()
    compiler = programs / "g++"
    compiler.write_text('#!/bin/sh\n[ "$1" = --version ] || { echo "the disk is full"; exit 1; }\n')
    compiler.chmod(0o755)
    environment = os.environ | {"TMPDIR": str(kernels)}
    broken = environment | {"PATH": f"{programs}:{os.environ['PATH']}"}

    def ask(environment: dict[str, str]) -> Any:
        command = [sys.executable, "-m", "gemma4_cli", "generate", "--model", "demo", "Hello"]
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        return argparse.Namespace(status=done.returncode, out=done.stdout, err=done.stderr)

    one_line(ask(broken), "the disk is full", str(kernels / "mlx"), "MLX_DISABLE_COMPILE=1")
    assert ask(broken | {"MLX_DISABLE_COMPILE": "1"}).status == 0
    assert ask(environment).status == 0
    for built in kernels.rglob("*.so"):
        built.write_bytes(b"cut")
    one_line(ask(environment), "file too short", str(kernels / "mlx"), "MLX_DISABLE_COMPILE=1")


def test_ctrl_c_is_130(gemma4: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(once, "open_model", interrupted)
    result = gemma4("generate", "Hi")
    assert (result.status, result.out, result.err) == (130, "", "")


class GonePipe(io.StringIO):
    """A stdout that nobody reads any more."""

    def write(self, text: str) -> int:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    def fileno(self) -> int:
        return os.open(os.devnull, os.O_WRONLY)


def test_a_reader_that_has_gone_is_no_error(
    gemma4: Run, says: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``gemma4 generate … | head -c 5``."""
    says("Hello there")
    monkeypatch.setattr("sys.stdout", GonePipe())
    assert main(["generate", "Hi", "-m", "tiny"]) == 141


def test_a_reader_that_has_gone_is_quiet() -> None:
    code = "import sys; from gemma4_cli.__main__ import main; sys.exit(main(['--help']))"
    run = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert run.stdout is not None and run.stderr is not None
    run.stdout.close()
    assert run.stderr.read() == b""
    assert run.wait() != 0
