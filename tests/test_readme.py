"""What the README says is so: its models and examples.

Its links, files, commands and options are checked with those of all pages: docs/test_links.py.
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


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
