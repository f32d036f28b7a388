"""Gemma 4's notation for function calls: ``call:get_weather{city:<|"|>Paris<|"|>,days:2}``.

It is not JSON. Keys are bare words; strings stand between ``<|"|>`` tokens and may hold anything,
braces, commas, quotation marks and newlines included; numbers, true, false and null are bare;
objects and lists nest. So it is read by a scanner and not by regular expressions after swapping
``<|"|>`` for ``"``, which breaks on the first string that contains a quotation mark, and on keys
and names with a hyphen or a dot.
"""

import math
import re
from typing import Any

QUOTE = '<|"|>'

# No half characters: one of them may stand for the quotation token.
_NAME = re.compile(r"[^\s{}\[\],:\"<>\ud800-\udfff]+")
_SPACE = re.compile(r"\s*")
_WORDS = {"true": True, "false": False, "null": None, "None": None}


class ToolCallSyntaxError(ValueError):
    """The model wrote something between the call tokens that is not a call."""


def parse_tool_call(text: str, quote: str = QUOTE) -> tuple[str, dict[str, Any]]:
    """The name and arguments of one call, given what stands between the two call tokens.

    ``quote`` is what the quotation token shows as; a reader of ids gives something that no text
    can spell, or a string that spells the token would end there.

    Raises ToolCallSyntaxError with the position of what was not understood.
    """
    scanner = _Scanner(text, quote)
    scanner.expect("call:")
    name = scanner.name("a function name")
    try:
        arguments = scanner.mapping()
    except RecursionError:
        raise ToolCallSyntaxError("the arguments nest too deeply") from None
    scanner.end()
    return name, arguments


class _Scanner:
    """Recursive descent over the text; ``position`` is the next character to read."""

    def __init__(self, text: str, quote: str):
        self.text, self.quote, self.position = text, quote, 0

    def fail(self, expected: str) -> ToolCallSyntaxError:
        found = self.text[self.position : self.position + 12] or "the end"
        return ToolCallSyntaxError(
            f"expected {expected} at character {self.position}, found {found!r}"
        )

    def skip_space(self) -> None:
        match = _SPACE.match(self.text, self.position)
        assert match is not None  # the pattern matches the empty string too
        self.position = match.end()

    def accept(self, literal: str) -> bool:
        self.skip_space()
        if not self.text.startswith(literal, self.position):
            return False
        self.position += len(literal)
        return True

    def expect(self, literal: str) -> None:
        if not self.accept(literal):
            raise self.fail(repr(literal))

    def end(self) -> None:
        self.skip_space()
        if self.position != len(self.text):
            raise self.fail("the end of the call")

    def name(self, what: str) -> str:
        self.skip_space()
        match = _NAME.match(self.text, self.position)
        if match is None:
            raise self.fail(what)
        self.position = match.end()
        return match.group()

    def string(self) -> str:
        """The rest of a string whose opening quote has been read."""
        close = self.text.find(self.quote, self.position)
        if close < 0:
            raise self.fail(f"a closing {QUOTE}")
        value = self.text[self.position : close]
        self.position = close + len(self.quote)
        return value

    def mapping(self) -> dict[str, Any]:
        self.expect("{")
        values: dict[str, Any] = {}
        if self.accept("}"):
            return values
        while True:
            # Nested keys are sometimes quoted: the older templates showed them so.
            key = self.string() if self.accept(self.quote) else self.name("a key")
            self.expect(":")
            values[key] = self.value()
            if self.accept("}"):
                return values
            self.expect(",")

    def sequence(self) -> list[Any]:
        values: list[Any] = []
        if self.accept("]"):
            return values
        while True:
            values.append(self.value())
            if self.accept("]"):
                return values
            self.expect(",")

    def value(self) -> Any:
        if self.accept(self.quote):
            return self.string()
        self.skip_space()
        if self.text.startswith("{", self.position):
            return self.mapping()
        if self.accept("["):
            return self.sequence()
        start = self.position
        word = self.name("a value")
        if word in _WORDS:
            return _WORDS[word]
        number = _number(word)
        if number is None:
            self.position = start
            raise self.fail(f"a number, true, false, null or {QUOTE}")
        return number


def _number(word: str) -> int | float | None:
    if re.fullmatch(r"-?[0-9]{1,1000}", word):  # Python refuses to read far longer integers
        return int(word)
    if re.fullmatch(r"-?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?", word):
        number = float(word)
        return number if math.isfinite(number) else None
    return None
