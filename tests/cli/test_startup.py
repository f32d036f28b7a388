"""``gemma4 --help`` answers at once: nothing heavy is imported until it is needed."""

import subprocess
import sys
import time

import pytest

from gemma4_mlx import __version__

HEAVY = {"mlx", "numpy", "PIL", "jinja2", "tokenizers", "huggingface_hub", "mlx_lm", "transformers"}
HEAVY |= {"torch", "rich", "soundfile", "soxr", "av", "prompt_toolkit", "asyncio"}


@pytest.mark.parametrize("arguments", [["--help"], ["chat", "--help"], ["--version"]])
def test_nothing_heavy_is_imported(arguments: list[str]) -> None:
    code = (
        "import sys; from gemma4_cli.__main__ import main; status = main(sys.argv[1:]);"
        "print(sorted(set(sys.modules)), file=sys.stderr); sys.exit(status)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    imported = {name.split(".")[0] for name in eval(run.stderr)}
    assert "typer" in imported
    assert imported.isdisjoint(HEAVY)


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
