"""How calls and results look on a terminal. They come from the model and from tools: untrusted.

Values are written as Python writes them, so that what would move the cursor, hide text or turn it
round is seen as an escape, and no value can pose as a line of the program. A call that the user is
asked about is shown whole, however long, since what is approved must have been seen (its length is
bounded by that of a reply); a call that runs unasked, and every result, is shortened.
"""

from collections.abc import Mapping, Sequence
from typing import Any

_SHORT = 120  # characters of a value that is shortened
_LINE = 88  # a call that is longer has a line for each argument


def call_line(name: str, arguments: Mapping[str, Any]) -> str:
    """A call on one line, its values shortened."""
    shown = ", ".join(f"{word(key)}={shortened(repr(v))}" for key, v in arguments.items())
    return f"{word(name)}({shown})"


def whole_call(name: str, arguments: Mapping[str, Any]) -> str:
    """A call with nothing left out: on one line if it is short, else with a line per argument.

    A text of several lines is written as several texts, one a line, as Python joins them.
    """
    one = f"{word(name)}({', '.join(f'{word(k)}={v!r}' for k, v in arguments.items())})"
    if len(one) <= _LINE:
        return one
    rows = [f"{word(name)}("]
    for key, value in arguments.items():
        begin = f"    {word(key)}="
        pieces = value.splitlines(keepends=True) if isinstance(value, str) and value else [value]
        rows.append(f"\n{' ' * len(begin)}".join([begin + repr(pieces[0]), *map(repr, pieces[1:])]))
        rows[-1] += ","
    return "\n".join([*rows, ")"])


def asks_in_vain(calls: Sequence[Mapping[str, Any]]) -> str:
    """What to say of calls where the model was given no functions."""
    name = word(calls[-1]["function"]["name"])
    return f"the model asks for the function {name}: there is none without --tool"


def word(text: str) -> str:
    """A name as it is if it is one, else in quotes."""
    return text if text.isidentifier() else repr(text)


def shortened(text: str, longest: int = _SHORT) -> str:
    """The beginning of a text, and how much more there is."""
    more = len(text) - longest
    return text if more <= 0 else f"{text[:longest]}… ({more:,} characters more)"


def plain_line(text: str, longest: int = _SHORT) -> str:
    """Any text on one line, its beginning, with what is not printable written as escapes."""
    head = text[: 4 * longest]
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in " ".join(head.split()))
    return f"{line[:longest]}…" if len(line) > longest or len(text) > len(head) else line


def printed_lines(text: str, unseen: int, most: int = 10) -> str:
    """What a tool printed, indented, at most so many lines; ``unseen`` bytes were not kept."""
    lines = text.splitlines()
    shown = [f"    {plain_line(line)}" for line in lines[:most]]
    if unseen or len(lines) > most:
        shown.append(f"    … {len(lines) - len(lines[:most]):,} lines and {unseen:,} bytes more")
    return "\n".join(shown)
