"""What a Google-style docstring says of a function: in a sentence, and of each of its parameters.

Read as ``transformers.utils.get_json_schema`` reads it, so that one file of tools serves both:
sections begin with ``Args:``, ``Returns:`` or ``Raises:``; an entry begins at a line ``name: …``
that is not indented deeper than the entry before. Two deviations: a heading stands on a line of
its own, so that a sentence may hold the word; and an entry may give its type, ``name (type): …``.
"""

import re
from dataclasses import dataclass

_HEADINGS = ("Args:", "Returns:", "Raises:")
_ENTRY = re.compile(r"([ \t]*)(\w+)(?:[ \t]*\([^()]*\))?:(.*)")


@dataclass(frozen=True)
class Docstring:
    """``arguments`` maps a parameter to its description on one line; ``returns`` may be None."""

    description: str
    arguments: dict[str, str]
    returns: str | None


def read_docstring(text: str) -> Docstring:
    """Read a docstring without its indentation, as ``inspect.getdoc`` gives it."""
    sections: dict[str, list[str]] = {"": []}
    heading = ""
    for line in text.strip().splitlines():
        if line.strip() in _HEADINGS:
            heading = line.strip()
            sections.setdefault(heading, [])
        else:
            sections[heading].append(line)
    returns = sections.get("Returns:")
    return Docstring(
        "\n".join(sections[""]).strip(),
        _entries(sections.get("Args:", [])),
        None if returns is None else "\n".join(returns).strip(),
    )


def _entries(lines: list[str]) -> dict[str, str]:
    entries: dict[str, list[str]] = {}
    name, indent = None, 0
    for line in lines:
        match = _ENTRY.fullmatch(line)
        if match and (name is None or len(match[1]) <= indent):
            name, indent = match[2], len(match[1])
            entries[name] = [match[3]]
        elif name is not None:
            entries[name].append(line)
    return {
        name: " ".join(part.strip() for part in parts if part.strip())
        for name, parts in entries.items()
    }
