"""Pieces of Markdown as the rows of a terminal, drawn by rich.

Where rich loses text, it is drawn otherwise: cells of a table are folded instead of cut, a table
with more columns than fit gives a line per cell, what is nested deeper than the screen is wide is
not indented any further. An item's indent follows from its own number, not from how many items
there will be. Code is highlighted as a whole, but laid out line by line, and lines laid out once
are kept.
"""

from collections.abc import Iterable
from typing import TextIO

from markdown_it.token import Token
from rich import box, markdown
from rich.console import COLOR_SYSTEMS, Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.style import Style
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from gemma4_cli.chat.reply.markdown import Piece, blocks, parse

Row = list[Segment]

# Columns below which nothing is narrowed any further, and what a table's column needs at least.
_NARROWEST = 8
_COLUMN = 5
_CODE_INDENT = 1


class Drawing:
    """Draws pieces for a terminal with the colours it has."""

    def __init__(self, file: TextIO):
        self._console = Console(file=file, force_terminal=True, legacy_windows=False)
        self._colors = COLOR_SYSTEMS[self._console.color_system or "standard"]
        self._code: dict[object, list[Row]] = {}

    def rows(self, piece: Piece, width: int) -> list[str]:
        """The rows of a piece in a terminal ``width`` columns wide, with their colours."""
        if not piece.source.strip():
            return []
        options = self._console.options.update(width=max(width, _NARROWEST), height=None)
        document = Document(piece, self._code)
        lines = list(Segment.split_lines(self._console.render(document, options)))
        if document.begins_empty and piece.after == "same":
            del lines[0]
        elif not document.begins_empty and piece.after == "block":
            lines.insert(0, [])
        return [self._row(line) for line in lines]

    def code_that_fits(self, piece: Piece, width: int, room: int) -> int:
        """The first line of an open code block from which on it takes at most ``room`` rows.

        Lines above it are final. ``piece.first`` when there are none, or it is no code block.
        """
        document = Document(piece, self._code)
        opening = document.parsed[0] if document.parsed else None
        if opening is None or opening.type != "fence":
            return piece.first
        code = Code.create(document, opening)
        code.text = Text(opening.content)
        lines = code.source.split("\n")
        options = self._console.options.update(width=max(width, _NARROWEST), height=None)
        rows, fits = code.lines(self._console, options), len(lines)
        while fits > piece.first and sum(map(len, rows[fits - 1 :])) < room:
            fits -= 1
        # The last line may be the beginning of the closing fence, and empty lines before that
        # are not shown.
        sure = max((i for i, line in enumerate(lines[:-1]) if line.strip()), default=0)
        return max(piece.first, min(fits, sure))

    def _row(self, row: Row) -> str:
        while row and not row[-1].text.rstrip(" ") and not _visible(row[-1].style):
            row = row[:-1]
        if row and not _visible(row[-1].style):
            row = [*row[:-1], Segment(row[-1].text.rstrip(" "), row[-1].style)]
        return "".join(
            segment.style.render(segment.text, color_system=self._colors)
            if segment.style
            else segment.text
            for segment in row
        )


def _visible(style: Style | None) -> bool:
    """Whether spaces in this style can be told from an empty screen."""
    return style is not None and bool(
        style.bgcolor or style.underline or style.underline2 or style.reverse or style.strike
    )


class Document(markdown.Markdown):
    """A piece as something rich can draw."""

    inlines = markdown.Markdown.inlines | {"link", "link_url"}

    def __init__(self, piece: Piece, code_rows: dict[object, list[Row]]):
        super().__init__("", hyperlinks=False)
        self.parsed = parse(piece.source)
        self.piece, self.code_rows = piece, code_rows
        if piece.last is not None:
            self.parsed = next(blocks(self.parsed))  # what comes after the code is not shown yet
        if piece.number is not None and self.parsed[0].type == "ordered_list_open":
            self.parsed[0].attrs["start"] = piece.number

    @property
    def begins_empty(self) -> bool:
        """Whether rich begins with an empty row, as it does where a block holds others."""
        first = next(blocks(self.parsed))
        return any(
            not token.children if token.type == "inline" else token.nesting <= 0
            for token in first[:-1]
        )


class Code(markdown.CodeBlock):
    """A code block, or the lines of one that belong to this piece."""

    first: int = 0
    last: int | None = None
    document: Document

    @classmethod
    def create(cls, document: markdown.Markdown, token: Token) -> "Code":
        code = super().create(document, token)
        assert isinstance(code, Code) and isinstance(document, Document)
        code.document = document
        if token is document.parsed[0]:
            code.first, code.last = document.piece.first, document.piece.last
        return code

    @property
    def source(self) -> str:
        return str(self.text).rstrip()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        style = Syntax.get_theme(self.theme).get_background_style()
        edge = [Segment(" " * options.max_width, style), Segment.line()]
        if not self.first:
            yield from edge
        for rows in self.lines(console, options)[self.first : self.last]:
            for row in rows:
                yield from (*row, Segment.line())
        if self.last is None:
            yield from edge

    def lines(self, console: Console, options: ConsoleOptions) -> list[list[Row]]:
        """The rows of every line, each as wide as the block."""
        syntax = Syntax("", self.lexer_name)
        lexer = syntax.lexer or syntax.default_lexer
        lines: list[list[tuple[object, str]]] = [[]]
        for kind, token in lexer.get_tokens(self.source.expandtabs(syntax.tab_size) + "\n"):
            first, *more = token.split("\n")
            lines[-1].append((kind, first))
            lines += [[(kind, text)] for text in more]
        return [self._line(console, options, tuple(line)) for line in lines[:-1]]

    def _line(
        self, console: Console, options: ConsoleOptions, line: tuple[tuple[object, str], ...]
    ) -> list[Row]:
        width = max(1, options.max_width - 2 * _CODE_INDENT)
        key = (width, self.theme, line)
        if key not in self.document.code_rows:
            theme = Syntax.get_theme(self.theme)
            base = theme.get_background_style()
            text = Text(style=base, no_wrap=False)
            text.append_tokens((part, theme.get_style_for_token(kind)) for kind, part in line)  # type: ignore[arg-type]
            inner = options.update(width=width, height=None, justify="left")
            indent = Segment(" " * _CODE_INDENT, base)
            self.document.code_rows[key] = [
                [indent, *row, indent] for row in console.render_lines(text, inner, style=base)
            ]
        return self.document.code_rows[key]


class Verbatim(markdown.TextElement):
    """Text as it is written, line for line."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        self.text.rstrip()
        yield self.text


class Quote(markdown.BlockQuote):
    """A block quote."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if options.max_width - 4 >= _NARROWEST:
            yield from super().__rich_console__(console, options)
        else:
            yield from _rows(console.render_lines(self.elements, options, style=self.style))


class List(markdown.ListElement):
    """A list, with or without numbers."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for number, item in enumerate(
            self.items, 1 if self.list_start is None else self.list_start
        ):
            ordered = self.list_type == "ordered_list_open"
            style = console.get_style(f"markdown.item.{'number' if ordered else 'bullet'}")
            marker = f" {number} " if ordered else " • "
            narrow = options.max_width - len(marker) < _NARROWEST
            inner = options if narrow else options.update(width=options.max_width - len(marker))
            rows = console.render_lines(item.elements, inner, style=item.style)
            if narrow:
                yield from _rows([[Segment(marker, style)], *rows])
            else:
                margins = [marker, *[" " * len(marker)] * len(rows)]
                yield from _rows(
                    [Segment(margin, style), *row]
                    for margin, row in zip(margins, rows, strict=False)
                )


class Cells(markdown.TableElement):
    """A table."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.header is None or self.header.row is None:
            return
        headings = [cell.content for cell in self.header.row.cells]
        rows = [[cell.content for cell in row.cells] for row in self.body.rows] if self.body else []
        if len(headings) * _COLUMN > options.max_width:
            for row in rows or [[Text()] * len(headings)]:
                for heading, cell in zip(headings, row, strict=False):
                    yield Text.assemble(heading, ": ", cell)
                yield Text()
            return
        table = Table(
            box=box.SIMPLE,
            pad_edge=False,
            style="markdown.table.border",
            show_edge=True,
            collapse_padding=True,
        )
        for heading in headings:
            title = heading.copy()
            title.stylize("markdown.table.header")
            table.add_column(title, overflow="fold")
        for row in rows:
            table.add_row(*row)
        yield table


def _rows(rows: Iterable[Row]) -> Iterable[Segment]:
    for row in rows:
        yield from (*row, Segment.line())


Document.elements = {
    **markdown.Markdown.elements,
    "fence": Code,
    "code_block": Code,
    "html_block": Verbatim,
    "blockquote_open": Quote,
    "bullet_list_open": List,
    "ordered_list_open": List,
    "table_open": Cells,
}
