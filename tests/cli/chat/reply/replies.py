"""Replies made of everything Markdown has, put together and cut at random."""

import random
from collections.abc import Sequence

from gemma4_mlx.generation.stats import Stats
from gemma4_mlx.generation.stream import Chunk

# What rich draws as it is; the others are links, pictures, HTML and definitions.
LINES = [
    "# Head",
    "## Lower",
    "#hash",
    "#",
    "plain text with words that go on and on so that the row is full and another one begins",
    "**bold** and *it* and `code` ~~s~~",
    "**not closed",
    "- item one",
    "- item two",
    "  - nested",
    "  more",
    "1. first",
    "2. second",
    "1. a\n\n   a paragraph in an item",
    "- x\n\n\n- y",
    "- ```\n  code in an item\n\n  more\n  ```",
    "7) other",
    "0. zero",
    "- [ ] task",
    "* star",
    "+ plus",
    "-",
    "1.",
    "> quote",
    "> > deeper",
    "> - q\n> - r\n\nlazy",
    "```python",
    "def f(x):",
    "    return '''x",
    "~~~",
    "```",
    "````",
    "   ```",
    "| a | b |",
    "|---|--:|",
    "| 1 | **two** |",
    "---",
    "===",
    "***",
    "    indented code",
    "\ttab",
    "[red]markup[/red]",
    "&#27;[31m &amp; \x1b[31mred\x07",
    "日本語のテキスト漢字",
    "👩‍👩‍👧 emoji ❤️ 🇩🇪",
    "averyveryveryverylongunbrokenwordthatneverendsandgoesonandon",
    "text\\",
    "  ",
    "",
    "",
    "",
]
SHOWN_OTHERWISE = [
    "<div>",
    "</div>",
    "<!-- a comment",
    "a <b>x</b> <br> y</kbd>",
    "[link](http://x.y/z) and <http://auto.link>",
    "![pic](http://p/q.png)",
    "[1]: http://ref",
    "see [1] or [a][1]",
]


def reply(source: random.Random, lines: Sequence[str] = (*LINES, *SHOWN_OTHERWISE)) -> str:
    """Up to fifteen lines."""
    text = "\n".join(source.choice(lines) for _ in range(source.randint(1, 15)))
    return text + source.choice(["", "\n", "\n\n"])


def cut(source: random.Random, text: str) -> list[str]:
    """The reply as it comes: character by character, or cut in up to thirty places."""
    if source.random() < 0.3:
        return list(text)
    cuts = sorted(source.choices(range(len(text) + 1), k=source.randint(0, 30)))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def chunk(text: str = "", thought: str = "", notices: Sequence[str] = ()) -> Chunk:
    """A chunk read from one token."""
    stats = Stats(1, 1, 0.1, 1, 0.1, 0.1, 0)
    return Chunk(text, thought, [], None, stats, [7], list(notices))
