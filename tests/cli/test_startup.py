"""``gemma4 --help`` answers at once, and a question soon: what is not needed is not imported."""

import subprocess
import sys
import time

import pytest

from gemma4_mlx import __version__
from tests.test_demo_model import RECIPE

HEAVY = {"mlx", "numpy", "PIL", "jinja2", "tokenizers", "huggingface_hub", "mlx_lm", "transformers"}
HEAVY |= {"torch", "rich", "soundfile", "soxr", "av", "prompt_toolkit", "asyncio"}


# For pictures, sound, videos, downloads and conversations; and mlx-lm, which takes a second.
NOT_FOR_TEXT = {"PIL", "soundfile", "soxr", "av", "huggingface_hub", "prompt_toolkit", "rich"}
NOT_FOR_TEXT |= {"mlx_lm", "transformers", "torch", "scipy", "http", "asyncio"}


def imported(*arguments: str) -> set[str]:
    """The packages that a run of ``gemma4`` has loaded when it ends."""
    code = (
        "import sys; from gemma4_cli.__main__ import main; status = main(sys.argv[1:]);"
        "print(*sys.modules, file=sys.stderr); sys.exit(status)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    return {name.split(".")[0] for name in run.stderr.splitlines()[-1].split()}


@pytest.mark.parametrize("arguments", [["--help"], ["chat", "--help"], ["--version"]])
def test_nothing_heavy_is_imported(arguments: list[str]) -> None:
    found = imported(*arguments)
    assert "typer" in found
    assert found.isdisjoint(HEAVY)


@pytest.mark.parametrize("sampling", [[], ["--top-k", "0"], ["--temperature", "0"]])
def test_a_question_in_text_needs_no_library_for_media(sampling: list[str]) -> None:
    found = imported("generate", "Who are you?", "--model", "demo", "--max-tokens", "2", *sampling)
    assert {"mlx", "numpy", "tokenizers", "jinja2"} <= found
    assert found.isdisjoint(NOT_FOR_TEXT)


def test_and_one_about_a_picture_needs_none_for_sound() -> None:
    picture = ["--image", str(RECIPE / "scene.png"), "--model", "demo", "--max-tokens", "2"]
    found = imported("generate", "What is in this picture?", *picture)
    assert "PIL" in found
    assert found.isdisjoint(NOT_FOR_TEXT - {"PIL", "http"})


def test_help_within_a_third_of_a_second() -> None:
    """The best of several: another process may be running."""
    command = [sys.executable, "-m", "gemma4_cli", "--help"]
    seconds = []
    for _ in range(8):
        start = time.perf_counter()
        subprocess.run(command, capture_output=True, check=True)
        seconds.append(time.perf_counter() - start)
        if seconds[-1] < 0.3:
            break
    assert min(seconds) < 0.3


def test_version() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "gemma4_cli", "--version"], capture_output=True, text=True
    )
    assert (run.returncode, run.stdout) == (0, f"gemma4 {__version__}\n")
