"""The screen of ``gemma4 info``: 80 columns, headings bold on a terminal, else plain text."""

import sys
import textwrap
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from typing import TYPE_CHECKING

import typer

from gemma4_cli.console import ReaderGone
from gemma4_cli.units import billions, size, tokens

if TYPE_CHECKING:
    from gemma4_convert.datasheet import Datasheet
    from gemma4_convert.inventory import GroupTotal
    from gemma4_mlx.config import TextConfig
    from gemma4_mlx.layer_plan import LayerPlan

_WIDTH = 80
_TITLES = {
    "embedding": "embedding (tied)",
    "ple_table": "per-layer table",
    "ple_projections": "per-layer projections",
    "mlp": "MLP",
    "norms": "norms and scalars",
    "vision": "vision tower",
    "audio": "audio tower",
}
_LOCAL, _GLOBAL, _LOCAL_BORROWS, _GLOBAL_BORROWS = "▪█▫□"


def show(sheet: "Datasheet") -> None:
    """Print the screen."""
    on_terminal = sys.stdout.isatty()
    for line in screen(sheet):
        is_heading = on_terminal and line and not line.startswith(" ")
        try:
            print(typer.style(line, bold=True) if is_heading else line)
        except BrokenPipeError:
            raise ReaderGone from None


def screen(sheet: "Datasheet") -> Iterator[str]:
    """The lines; headings are those that begin with no space."""
    for part in (_title, _layers, _parameters, _weights, _memory):
        yield from part(sheet)
        if part is not _memory:
            yield ""


def _paragraph(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent="  ", subsequent_indent="  ")


def _title(sheet: "Datasheet") -> Iterator[str]:
    yield _visible(sheet.name)
    yield f"  {', '.join(_published_sizes(sheet))}"
    weights = size(sheet.inventory.file_bytes)
    if sheet.path is None:
        from gemma4_mlx.hub import ALIASES, cached_model

        alias = next(alias for alias, hub_id in ALIASES.items() if hub_id == sheet.name)
        state = "not downloaded" if cached_model(sheet.name) is None else "downloaded in part"
        where = f"{state}: figures from its config.json; gemma4 pull {alias} fetches {weights}"
    elif sheet.measured:
        where = f"{weights} of weights"
    elif sheet.inventory.config.quantization is None:
        where = "no weights here: figures from its config.json"
    else:
        where = "no weights here: figures from its config.json, what is packed is a guess"
    if sheet.path is not None and str(sheet.path) != sheet.name:
        where += f", in {sheet.path}"
    yield from _paragraph(_visible(where))


def _visible(text: str) -> str:
    """Names of folders may hold what a terminal would obey."""
    return "".join(sign for sign in text if sign.isprintable())


def _published_sizes(sheet: "Datasheet") -> Iterator[str]:
    """As on the model cards: of E2B and E4B they count everything, else the decoder."""
    parameters, config = sheet.parameters, sheet.inventory.config
    yield f"{billions(parameters.total)} parameters"
    if parameters.effective is not None:
        yield f"{billions(parameters.effective)} effective"
    elif config.vision is not None:
        yield f"{billions(parameters.decoder)} without the vision tower"
    if parameters.active is not None:
        yield f"{billions(parameters.active)} active"
    if config.vision is None and config.audio is None:
        yield "text alone"


# --- layers --------------------------------------------------------------------------------------


def _layers(sheet: "Datasheet") -> Iterator[str]:
    from gemma4_mlx.layer_plan import plan_layers

    text = sheet.inventory.config.text
    plan = plan_layers(text)
    yield (
        f"{len(plan)} layers, hidden size {text.hidden_size:,}, vocabulary {text.vocab_size:,}, "
        f"context {tokens(text.max_position_embeddings)}"
    )
    yield from _drawing(plan)
    yield f"  {'':<12}layers  heads  kv heads  head size  MLP width  sees"
    for is_global in (False, True):
        rows = [row for row in plan if row.is_global is is_global]
        if rows:
            yield _kind(rows)
    yield from _paragraph("; ".join(_remarks(text, plan)))


def _drawing(plan: "tuple[LayerPlan, ...]") -> Iterator[str]:
    """One sign a layer, cut after each global one; those that borrow begin a new line."""
    start = next((row.index for row in plan if row.kv_donor is not None), len(plan))
    for part in (plan[:start], plan[start:]):
        blocks: list[tuple[int, str]] = []
        for row in part:
            if not blocks or blocks[-1][1][-1] in (_GLOBAL, _GLOBAL_BORROWS):
                blocks.append((row.index, ""))
            blocks[-1] = (blocks[-1][0], blocks[-1][1] + _sign(row))
        line = ""
        for index, block in blocks:
            if line and len(line) + 1 + len(block) > _WIDTH:
                yield line
                line = ""
            line = f"{line} {block}" if line else f"{index:5d} {block}"
        if line:
            yield line


def _sign(row: "LayerPlan") -> str:
    if row.kv_donor is None:
        return _GLOBAL if row.is_global else _LOCAL
    return _GLOBAL_BORROWS if row.is_global else _LOCAL_BORROWS


def _kind(rows: "list[LayerPlan]") -> str:
    row = rows[0]
    sees = "everything" if row.window is None else f"last {row.window:,}"
    name = f"{_GLOBAL} global" if row.is_global else f"{_LOCAL} local"
    return (
        f"  {name:<12}{len(rows):>6}{row.num_heads:>7}{row.num_kv_heads:>10}{row.head_dim:>11}"
        f"{row.mlp_width:>11,}  {sees}"
    )


def _remarks(text: "TextConfig", plan: "tuple[LayerPlan, ...]") -> Iterator[str]:
    donors = {row.kind: row.kv_donor for row in plan if row.kv_donor is not None}
    if donors:
        named = " and ".join(str(donor) for donor in sorted(donors.values()))
        wide = plan[-1].mlp_width
        yield (
            f"{_LOCAL_BORROWS} {_GLOBAL_BORROWS} borrow the keys and values of "
            f"{'layers' if len(donors) > 1 else 'layer'} {named}"
            + (f", their MLPs are {wide:,} wide" if wide != plan[0].mlp_width else "")
        )
    if any(row.k_eq_v for row in plan):
        yield f"in {_GLOBAL} keys serve as values"
    if text.num_experts:
        yield (
            f"beside each MLP {text.num_experts} experts of width {text.moe_intermediate_size}, "
            f"{text.top_k_experts} for a token"
        )


# --- parameters and weights ----------------------------------------------------------------------


def _parameters(sheet: "Datasheet") -> Iterator[str]:
    parameters = sheet.parameters
    left: list[tuple[str, int]] = []
    right: list[tuple[str, int]] = []
    for name, count in parameters.components.items():
        column = right if name in ("vision", "audio", "projectors") else left
        column.append((_TITLES.get(name, name), count))
    if parameters.borrowed:
        right.append(("borrowed, unused", parameters.borrowed))
    if parameters.clip_bounds:
        right.append(("clip bounds, uncounted", -parameters.clip_bounds))
    right.append(("total", parameters.total))
    yield "Parameters"
    for pair in zip_longest(left, right):
        cells = ["" if cell is None else f"{cell[0]:<22}{cell[1]:>15,}" for cell in pair]
        yield f"  {cells[0]:<37}    {cells[1]}".rstrip()
    yield from _paragraph("; ".join(_published(sheet)))


def _published(sheet: "Datasheet") -> Iterator[str]:
    parameters = sheet.parameters
    if parameters.effective is not None:
        table = parameters.components["ple_table"]
        yield (
            f"effective {parameters.effective:,}: the decoder ({parameters.decoder:,}) without its "
            f"per-layer table, which is {100 * table / parameters.total:.0f} % of all"
        )
        return
    yield f"decoder {parameters.decoder:,}"
    if parameters.active is not None:
        text = sheet.inventory.config.text
        yield (
            f"active {parameters.active:,}: the decoder with {text.top_k_experts} of "
            f"{text.num_experts} experts"
        )


def _weights(sheet: "Datasheet") -> Iterator[str]:
    yield f"{'Weights by group':<20}{'tensors':>9}{'parameters':>16}{'bits':>7}{'size':>10}  packed"
    for total in sheet.inventory.groups():
        packed, *others = total.packings
        yield f"{_group(total)}  {packed}{f' +{len(others)} more' if others else ''}"
    yield _group(sheet.inventory.all_groups())
    if sheet.inventory.unused_bytes:
        yield f"  {'unused':<18}{size(sheet.inventory.unused_bytes):>42}  {_unused(sheet)}"


def _group(total: "GroupTotal") -> str:
    return (
        f"  {total.name:<18}{total.tensors:>9,}{total.parameters:>16,}{total.bits:>7.2f}"
        f"{size(total.nbytes):>10}"
    )


def _unused(sheet: "Datasheet") -> str:
    return "borrowed" if sheet.inventory.has_borrowed else ""


# --- memory --------------------------------------------------------------------------------------


def _memory(sheet: "Datasheet") -> Iterator[str]:
    use = sheet.memory
    lengths = list(use.cache)
    yield _row("Memory in use", map(tokens, lengths))
    yield _row("  key-value cache", map(size, use.cache.values()))
    text_only = (use.in_use(length, towers=False) for length in lengths)
    yield _row(f"  + decoder, {size(use.decoder)}", map(size, text_only))
    if use.towers:
        everything = (use.in_use(length, towers=True) for length in lengths)
        yield _row(f"  + towers, {size(use.towers)}", map(size, everything))
    yield from _paragraph(" ".join(_verdict(sheet)))


def _row(title: str, cells: Iterable[str]) -> str:
    return f"{title:<22}" + "".join(f"{cell:>8}" for cell in cells)


def _verdict(sheet: "Datasheet") -> Iterator[str]:
    use = sheet.memory
    if use.table and use.table_in_memory:
        yield f"The per-layer table ({size(use.table)}) is held in memory with the decoder."
    elif use.table:
        yield f"The per-layer table ({size(use.table)}) stays on flash."
    yield "Activations come on top."
    have = size(use.room.nbytes)
    have += (
        " that Metal recommends for the GPU"
        if use.room.kind == "working set"
        else " of this machine's memory"
    )
    longest, text_only = use.longest(towers=True), use.longest(towers=False)
    if longest == max(use.cache):
        yield f"Fits the {have}, up to the full context."
    elif longest is not None:
        yield f"Fits the {have} up to {tokens(longest)} tokens of context."
    elif text_only is not None:
        yield f"Fits the {have} for text alone, up to {tokens(text_only)} tokens of context."
    else:
        yield f"Does not fit the {have}."
        if sheet.inventory.config.quantization is None:
            yield "gemma4 convert makes it smaller."
