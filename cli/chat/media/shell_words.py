"""Words as a shell reads them, as far as terminals write dropped files that way.

Only the space, tab and newline part words: macOS puts other spaces into the names of screenshots.
"""

from dataclasses import dataclass

SPACES = " \t\n"
_QUOTES = "'\""


@dataclass(frozen=True)
class Word:
    """``text`` is what stands from ``start`` to ``end`` in the line, without quotes and escapes."""

    start: int
    end: int
    text: str
    quoted: bool = False
    escaped: bool = False


def word_at(row: str, start: int) -> Word:
    """The word at ``start`` as a shell reads it.

    A quote counts at the start of a word and right after another quoted piece, so that the
    apostrophe of "don't" does not; and where it is not closed in its line it does not either. A
    backslash before a letter or digit stays, since no terminal writes one there.
    """
    text, position, quoted, escaped, may_quote = "", start, False, False, True
    while position < len(row) and row[position] not in SPACES:
        character, after = row[position], row[position + 1 : position + 2]
        if character == "\\" and after and after != "\n" and not after.isalnum():
            text, position, escaped = text + after, position + 2, True
            may_quote = quoted
        elif character in _QUOTES and may_quote:
            piece = _quoted(row, position)
            if piece is None:
                return plain_word(row, start)
            text, position, quoted = text + piece[0], piece[1], True
        else:
            text, position, may_quote = text + character, position + 1, False
    return Word(start, position, text, quoted, escaped)


def _quoted(row: str, start: int) -> tuple[str, int] | None:
    """What stands between the quote at ``start`` and the next, and where it ends."""
    quote, text, position = row[start], "", start + 1
    while position < len(row) and row[position] != "\n":
        character, after = row[position], row[position + 1 : position + 2]
        if character == quote:
            return text, position + 1
        if quote == '"' and character == "\\" and after and after in '"\\$`':
            character, position = after, position + 1
        text, position = text + character, position + 1
    return None


def plain_word(row: str, start: int) -> Word:
    """The word at ``start`` as it stands, up to the next space."""
    end = start
    while end < len(row) and row[end] not in SPACES:
        end += 1
    return Word(start, end, row[start:end])
