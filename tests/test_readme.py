"""What the README says is so: its commands, options, files, models and examples."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_readme_targets_exist_in_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, flags=re.M))
    prose = README + (ROOT / "CONTRIBUTING.md").read_text() + (ROOT / ".ci/run").read_text()
    named = set(re.findall(r"^\s*make ([a-z-]+)|`make ([a-z-]+)", prose, flags=re.M))
    wanted = {name for pair in named for name in pair if name}
    assert {"test", "parity"} <= wanted <= targets


def test_readme_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", README)
    targets += re.findall(r"^\|[^|]*\| `([^`]+)`", README, flags=re.M)
    assert targets
    missing = [target for target in targets if not (ROOT / target).exists()]
    assert not missing


def help_of(command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "gemma4_cli", command, "--help"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, f"gemma4 {command}: {done.stderr}"
    return done.stdout


def test_readme_commands_and_options_exist_in_the_cli() -> None:
    said: dict[str, set[str]] = {}
    for line in README.splitlines():
        for command, rest in re.findall(r"\bgemma4 ([a-z]+)(.*)", line):
            said.setdefault(command, set()).update(re.findall(r"--[a-z-]+", rest))
    for command, options in said.items():
        text = help_of(command)
        assert not [option for option in options if option not in text], command
    assert {"chat", "generate", "transcribe"} <= set(said)


def test_readme_names_the_models_that_have_aliases() -> None:
    from gemma4_mlx.loading import ALIASES

    rows = re.findall(r"^\| `(\w+)` \| (\S+/\S+) \|", README, flags=re.M)
    assert dict(rows) == ALIASES


def test_readme_python_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The examples are run as they stand, with the demo model, from the root of the checkout."""
    monkeypatch.chdir(ROOT)
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.S)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})


def test_readme_keeps_the_place_of_the_parity_table() -> None:
    assert README.count("<!-- parity:begin -->") == README.count("<!-- parity:end -->") == 1
    assert README.index("<!-- parity:begin -->") < README.index("<!-- parity:end -->")
