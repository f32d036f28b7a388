"""docs/FILES.md: every file of the packages and its idea, from the first line of its docstring.

    python -m tests.docs.files

So the list is right when the docstrings are.
"""

import ast
from pathlib import Path

from tests.docs.pages import ROOT, table, write

PAGE = ROOT / "docs/FILES.md"
FOLDERS = ("gemma4_mlx", "convert", "cli")
TOP = """# Every file and its idea

Written by `make docs` from the first line of each file's docstring.
[ARCHITECTURE.md](../ARCHITECTURE.md) says how they belong together."""


def idea(file: Path) -> str:
    """The first sentence or line of a module's docstring."""
    said = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return " ".join(said.split("\n\n")[0].split()).replace("``", "`")


def text() -> str:
    """The whole page."""
    parts = [TOP]
    for folder in FOLDERS:
        places = sorted({file.parent for file in (ROOT / folder).rglob("*.py")})
        for place in places:
            own = sorted(file for file in place.glob("*.py") if file.name != "__init__.py")
            here = place.relative_to(ROOT).as_posix()
            parts += [f"## {here}/", idea(place / "__init__.py")]
            rows = [[f"[`{file.name}`](../{here}/{file.name})", idea(file)] for file in own]
            if rows:
                parts.append(table(["file", "idea"], rows))
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    write(PAGE, text())
