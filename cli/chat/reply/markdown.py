"""A reply in Markdown cut into pieces while it comes, each final as soon as the next has begun.

Markdown is read line by line, and a block that has ended does not change any more: only the last
one is still open. A list gives its items one by one. What is drawn piece by piece is then what
drawing the whole text at once gives. Three things are read otherwise than CommonMark says, so that
this holds and no text gets lost: a definition like ``[1]: https://…``, which could change what
stands above it, stays a line of text; HTML is shown as it is written, ``<br>`` as a new line; and
what is nested too deeply to be read is shown as it is written.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from markdown_it import MarkdownIt
from markdown_it.token import Token

_PARSER = MarkdownIt().enable(["strikethrough", "table"]).disable("reference")

# What the parser finds inside these is dropped when they are nested as deeply as it goes.
_CONTAINERS = {"blockquote_open", "list_item_open"}
_DEEPEST = _PARSER.options["maxNesting"] - 1

_LINE_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)

# The beginning of a line that is text however it goes on, and no marker.
_PARAGRAPH = re.compile(r"(\*\*)?[^\W\d_]")


@dataclass(frozen=True)
class Piece:
    """A part of a reply that is drawn on its own.

    ``after``: what stands before it, which decides on an empty row between them; ``same`` is an
    earlier part of its own block. ``number``: of the first item, where an ordered list began in an
    earlier piece. Of a code block, lines from ``first`` up to ``last`` are shown; the
    others are in other pieces.
    """

    source: str
    after: Literal["nothing", "rule", "block", "same"] = "nothing"
    number: int | None = None
    first: int = 0
    last: int | None = None


class Pieces:
    """The pieces of a growing text. ``rest`` is what is not final yet, perhaps several blocks."""

    def __init__(self) -> None:
        self.rest = Piece("")
        self._read = 0  # characters of the rest in which no further piece is to be found

    def add(self, text: str) -> None:
        """The text goes on."""
        self.rest = replace(self.rest, source=self.rest.source + text)

    def finished(self) -> list[Piece]:
        """The pieces that have become final since the last call."""
        source = self.rest.source
        decided = source.rfind("\n") + 1
        if _PARAGRAPH.match(source, decided):
            decided = len(source)
        if decided == self._read:
            return []
        cut = list(_cut(replace(self.rest, source=source[:decided])))
        if len(cut) > 1:
            last = cut[-1]
            self.rest = replace(last, source=last.source + source[decided:])
            decided = len(last.source)
        self._read = decided
        return cut[:-1]

    def cut_code(self, line: int) -> Piece:
        """The lines before ``line`` of the code block that the rest begins with, now final."""
        above = replace(self.rest, last=line)
        self.rest = replace(self.rest, after="same", first=line)
        return above

    def end(self) -> list[Piece]:
        """All that is left, final now that the text has ended."""
        pieces = list(_cut(self.rest))
        self.rest, self._read = Piece(""), 0
        return pieces


def parse(text: str) -> list[Token]:
    """The tokens to draw: links with their addresses, pictures and HTML as text."""
    tokens: list[Token] = []
    for block in blocks(_PARSER.parse(text)):
        opening = block[0]
        if any(token.type in _CONTAINERS and token.level >= _DEEPEST for token in block):
            assert opening.map is not None
            begin, end = opening.map
            content = "\n".join(text.split("\n")[begin:end])
            block = [Token("html_block", "", 0, map=[begin, end], content=content)]
        for token in block:
            if token.type == "inline":
                token.children = list(_inline(token.children or []))
        tokens += block
    return tokens


def blocks(tokens: list[Token]) -> Iterator[list[Token]]:
    """The tokens of each block at the top level."""
    block: list[Token] = []
    for token in tokens:
        block.append(token)
        if token.level == 0 and token.nesting <= 0:
            yield block
            block = []


def _inline(tokens: Iterable[Token]) -> Iterator[Token]:
    address, shown = "", ""
    for token in tokens:
        if token.type == "link_open":
            address, shown = str(token.attrs.get("href", "")), ""
            yield Token("style", "link", 1)
        elif token.type == "link_close":
            yield Token("style", "link", -1)
            if address not in (shown, f"mailto:{shown}"):
                yield from _address(address)
        elif token.type == "image":
            yield Token("style", "link", 1)
            yield _text(f"🌆 {token.content}".strip())
            yield Token("style", "link", -1)
            yield from _address(str(token.attrs.get("src", "")))
        elif token.type == "html_inline":
            line_break = _LINE_BREAK.fullmatch(token.content)
            yield Token("hardbreak", "br", 0) if line_break else _text(token.content)
        else:
            shown += token.content
            yield token


def _address(address: str) -> Iterator[Token]:
    yield from (_text(" ("), Token("style", "link_url", 1), _text(address))
    yield from (Token("style", "link_url", -1), _text(")"))


def _text(content: str) -> Token:
    return Token("text", "", 0, content=content)


def _cut(rest: Piece) -> Iterator[Piece]:
    """Cut a text that begins where a piece does: blocks, and the items of lists at the top."""
    lines = re.split(r"(?<=\n)", rest.source)  # as Markdown counts them
    begins: list[tuple[int, Piece]] = []
    before: str | None = None
    number: int | None = None
    for token in parse(rest.source):
        if token.map is None:
            continue
        begin = token.map[0]
        if token.level == 0 and token.nesting >= 0:
            number = None
            if token.type == "ordered_list_open":
                number = int(token.attrs.get("start", 1))
                if before is None and rest.number is not None:
                    number = rest.number
            after: Literal["rule", "block"] = "rule" if before == "hr" else "block"
            begins.append((begin, Piece("", after) if begins else rest))
            before = token.type
        elif token.type == "list_item_open" and token.level == 1 and begin > begins[-1][0]:
            number = None if number is None else number + 1
            begins.append((begin, Piece("", "same", number)))
    for index, (begin, piece) in enumerate(begins):
        start = begin if index else 0
        end = begins[index + 1][0] if index + 1 < len(begins) else None
        yield replace(piece, source="".join(lines[start:end]))
