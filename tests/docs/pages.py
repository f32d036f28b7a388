"""Pages that a program writes: the whole of a file, or the part between two marks."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def table(heads: list[str], rows: list[list[str]]) -> str:
    """A Markdown table. A bar within a cell would end it."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", r"\|").replace("\n", " ") for cell in line) + " |"
        for line in lines
    )


def between_marks(page: str, name: str, text: str) -> str:
    """``page`` with what stands between its marks of this name replaced."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    assert page.count(begin) == page.count(end) == 1, f"one {begin} and one {end} are needed"
    before, rest = page.split(begin)
    return f"{before}{begin}\n{text.strip()}\n{end}{rest.split(end)[1]}"


def write(file: Path, text: str) -> None:
    """Write a page, and say whether it is another one now."""
    old = file.read_text(encoding="utf-8") if file.exists() else None
    file.write_text(text, encoding="utf-8")
    print(f"{file.relative_to(ROOT)}: {'as it was' if old == text else 'written'}")
