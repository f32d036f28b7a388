"""README's short table of comparisons: rows of BENCHMARKS.md and tests/bench, as measured.

    python -m tests.docs.compared

Nothing is rounded or worked out again; wins and losses are chosen by hand, here.
"""

from dataclasses import dataclass

from tests.docs.pages import ROOT, between_marks, table, write

PAGE = ROOT / "README.md"
MEASURED = ROOT / "BENCHMARKS.md"
CONVERSION = ROOT / "tests/bench/README.md"
COLUMNS = ("ours", "mlx-lm", "mlx-vlm")


@dataclass(frozen=True)
class Row:
    """A row of a section, found by its first cells."""

    says: str
    section: str
    cells: tuple[str, ...]


ROWS = (
    Row("memory of a text chat, E2B in 4 bits, GB", "memory",
        ("e2b full", "with towers", "resident, peak")),
    Row("the same, E4B", "memory", ("e4b full", "with towers", "resident, peak")),
    Row("cache of global layers, 26B at 128K, MB", "cache",
        ("26b", "cache of all global layers, MB", "131,072")),
    Row("operations a token, E2B narrow, 4 bits", "operations",
        ("e2b narrow", "4 bits", "32", "operations")),
    Row("host, ms a token, 31B narrow", "host",
        ("31b narrow", "float32", "32", "host, ms a token")),
    Row("prompt of 4,096, tokens a second, E2B tall", "prefill",
        ("e2b tall", "float32", "4,096", "tokens a second")),
    Row("the same, 26B tall", "prefill", ("26b tall", "float32", "4,096", "tokens a second")),
    Row("the same, 31B tall", "prefill", ("31b tall", "float32", "4,096", "tokens a second")),
    Row("prompt of 512, tokens a second, 31B tall", "prefill",
        ("31b tall", "float32", "512", "tokens a second")),
    Row("reply, tokens a second, E2B narrow", "decode",
        ("e2b narrow", "float32", "32", "tokens a second")),
    Row("reply, tokens a second, E2B small", "decode",
        ("e2b small", "float32", "32", "tokens a second")),
    Row("from the command to the first token", "start", ("the first token",)),
)  # fmt: skip


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def found(row: Row) -> dict[str, str]:
    """Column → cell of a row; the peer that a section lacks is absent."""
    part = MEASURED.read_text(encoding="utf-8").split(f"<!-- {row.section}:begin -->")[1]
    heads, _, *rows = [line for line in part.split(":end -->")[0].splitlines() if "|" in line]
    (line,) = [cells(line) for line in rows if tuple(cells(line)[: len(row.cells)]) == row.cells]
    known = {"`gemma4`": "ours", "`python -m mlx_vlm.generate`": "mlx-vlm"}
    return {known.get(head, head): cell for head, cell in zip(cells(heads), line, strict=True)}


def slower() -> str:
    """Every rate of BENCHMARKS.md at which mlx-lm is faster, in a sentence."""
    said = []
    for section in ("prefill", "decode"):
        part = MEASURED.read_text(encoding="utf-8").split(f"<!-- {section}:begin -->")[1]
        heads, _, *rows = [line for line in part.split(":end -->")[0].splitlines() if "|" in line]
        for row in (dict(zip(cells(heads), cells(line), strict=True)) for line in rows):
            ratio = row["ours / mlx-lm"].split()[0]
            if row["measured"] == "tokens a second" and float(ratio) < 1:
                said.append(f"{row['shape']}, {section} of {row['prompt']}: {ratio}")
    return f"Slower than mlx-lm (ours / mlx-lm): {'; '.join(said) or 'nowhere'}."


def converting() -> list[str]:
    """Memory of converting E2B: one table in which the programs stand below one another."""
    lines = CONVERSION.read_text(encoding="utf-8").splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("| E2B, 10.2 GB"))
    rows = {line[1]: line[2] for line in map(cells, lines[start : start + 3])}
    return ["converting E2B to 4 bits, GB of memory", *(rows[name] for name in COLUMNS)]


def text() -> str:
    """The table and what goes with it."""
    rows = []
    for row in ROWS:
        line = found(row)
        rows.append([row.says, *(line.get(column, "–") for column in COLUMNS)])
    return table(["measured", *COLUMNS], [*rows, converting()]) + "\n\n" + slower()


def page() -> str:
    """README with the table as it is now."""
    return between_marks(PAGE.read_text(encoding="utf-8"), "compared", text())


if __name__ == "__main__":
    write(PAGE, page())
