"""CONTRIBUTING.md: what it tells a newcomer to break does break a test."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.docs.pages import ROOT

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
BROKEN = "gemma4_mlx/nn/rope.py"


def run_tests(checkout: Path) -> subprocess.CompletedProcess[str]:
    # Without plugins that other runs bring along, such as xdist's.
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    return subprocess.run(
        [*command, "tests/nn/test_rope.py"],
        cwd=checkout,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_change_of_the_first_hour_breaks_a_test(tmp_path: Path) -> None:
    block = PAGE.partition("<!-- break:begin -->")[2].partition("<!-- break:end -->")[0]
    old, new = re.findall(r"^[-+](.*)$", block, flags=re.MULTILINE)
    for name in ("gemma4_mlx", "tests/nn"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "tests/__init__.py").touch()
    assert run_tests(tmp_path).returncode == 0

    file = tmp_path / BROKEN
    source = file.read_text(encoding="utf-8")
    assert source.count(old) == 1, f"{BROKEN} has changed: choose another line for CONTRIBUTING"
    file.write_text(source.replace(old, new), encoding="utf-8")
    done = run_tests(tmp_path)
    assert done.returncode == 1, done.stdout


def test_files_that_it_names_are_there() -> None:
    named = set(re.findall(r"`((?:gemma4_mlx|cli|convert|tests|notebooks|docs)/[\w./]*)`", PAGE))
    assert len(named) > 12
    assert not [name for name in sorted(named) if not (ROOT / name).exists()]
