"""The Markdown of the repository, notebooks' cells with it: prose, code, links and headings."""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.docs.pages import ROOT

# What tools put into a checkout, and what is no page of ours.
_NOT_OURS = {".venv", ".git", "build", "dist", ".pytest_cache", ".mypy_cache", ".ruff_cache"}


@cache
def pages() -> dict[Path, str]:
    """File → its Markdown."""
    found = {}
    for file in sorted([*ROOT.rglob("*.md"), *(ROOT / "notebooks").glob("*.ipynb")]):
        if not _NOT_OURS & set(file.relative_to(ROOT).parts):
            text = file.read_text(encoding="utf-8")
            found[file] = _cells(text) if file.suffix == ".ipynb" else text
    return found


def _cells(notebook: str) -> str:
    cells = json.loads(notebook)["cells"]
    return "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")


def code(text: str) -> Iterator[str]:
    """Lines of code blocks, fenced or indented, and what stands between backticks."""
    fenced = re.findall(r"^```[^\n]*\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    prose = re.sub(r"^```.*?^```[^\n]*$", "", text, flags=re.MULTILINE | re.DOTALL)
    for block in fenced:
        yield from block.splitlines()
    yield from re.findall(r"^ {4}\s*(\S.*)$", prose, flags=re.MULTILINE)
    prose = re.sub(r"^ {4}.*$", "", prose, flags=re.MULTILINE)
    for span in re.findall(r"`([^`]+)`", prose):
        yield " ".join(span.split())


def links(text: str) -> list[str]:
    """Where links and pictures lead, other than to the web."""
    prose = re.sub(r"^```.*?^```[^\n]*$", "", text, flags=re.MULTILINE | re.DOTALL)
    prose = re.sub(r"`[^`\n]+`", "`code`", prose)
    return re.findall(r"\]\((?!https?:|mailto:)([^)\s]+)\)", prose)


def anchors(text: str) -> set[str]:
    """The names GitHub gives to headings."""
    prose = re.sub(r"^```.*?^```[^\n]*$", "", text, flags=re.MULTILINE | re.DOTALL)
    found: set[str] = set()
    for heading in re.findall(r"^#{1,6} +(.+?) *#*$", prose, flags=re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        number = 1
        unique = name
        while unique in found:
            unique, number = f"{name}-{number}", number + 1
        found.add(unique)
    return found
