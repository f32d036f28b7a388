"""Completion with Tab: commands, what they take, and paths.

A path is completed as it was begun: with a backslash before its spaces, or inside quotes.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from gemma4_cli.chat.media.dropped import kind_of_name
from gemma4_cli.chat.state import SETTINGS

# What the paths after a command are of; None: any file.
_TAKES: dict[str, str | None] = {
    "/image": "image",
    "/audio": "audio",
    "/video": "video",
    "/load": None,
    "/save": None,
    "/export": None,
}

_SPECIAL = re.compile(r"([\s!\"#$&'()*;<>?\[\\\]^`{|}~])")
_LAST_WORD = re.compile(r"(?:\\.|[^\s\\])*$")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_MOST = 1000  # entries of a folder that are offered


@dataclass(frozen=True)
class _Begun:
    """The part of a path that is typed: as it stands in the line, its meaning, and its quote."""

    typed: str
    path: str
    quote: str = ""


class ChatCompleter(Completer):
    """``words`` gives what each command does, by the command and what it takes."""

    def __init__(self, words: Callable[[], Mapping[str, str]]):
        self.words = words

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterable[Completion]:
        """What the text before the cursor may go on as."""
        before = document.text_before_cursor
        command, space, argument = before.partition(" ")
        if before.startswith("/") and "\n" not in before:
            if space and command in _TAKES:
                yield from _paths(_begun(argument), _TAKES[command])
                return
            choices = list(self._choices(command, argument) if space else self._commands(command))
            if choices:
                yield from choices
                return
        begun = _begun(document.current_line_before_cursor)
        if "/" in begun.path or begun.path.startswith("~"):
            yield from _paths(begun, None)

    def _commands(self, typed: str) -> Iterator[Completion]:
        for usage, help_text in self.words().items():
            command = usage.split()[0]
            if command.startswith(typed.lower()):
                more = " " if " " in usage else ""
                yield Completion(command + more, -len(typed), display=usage, display_meta=help_text)

    def _choices(self, command: str, typed: str) -> Iterator[Completion]:
        """Those of a command that takes one of a few words: ``/think on|off``."""
        usage = next((u.split() for u in self.words() if u.split()[0] == command), [])
        for name in SETTINGS if command == "/set" else ():
            if name.startswith(typed):
                yield Completion(name + " ", -len(typed))
        for choice in usage[1].split("|") if len(usage) > 1 and "|" in usage[1] else ():
            if choice.startswith(typed):
                yield Completion(choice, -len(typed))


def _begun(line: str) -> _Begun:
    """The path that the end of a line begins."""
    for quote in "\"'":
        start = line.rfind(quote)
        opened = start >= 0 and line.count(quote) % 2 == 1
        if opened and (start == 0 or line[start - 1].isspace()):
            return _Begun(line[start + 1 :], line[start + 1 :], quote)
    found = _LAST_WORD.search(line)
    typed = found.group() if found else ""
    return _Begun(typed, re.sub(r"\\(.)", r"\1", typed))


def _paths(begun: _Begun, kind: str | None) -> Iterator[Completion]:
    """Folders, and files of the kind, whose names go on from what is typed."""
    folder, start = os.path.split(begun.path)
    if begun.path == "~":
        folder, start = "~", ""
    typed_folder = begun.typed[: len(begun.typed) - len(_as_typed(start, begun.quote))]
    if begun.path == "~":
        typed_folder = "~/"
    try:
        there = Path(folder or ".").expanduser()
    except RuntimeError:  # of a user unknown here
        return
    for name, is_folder in _entries(there):
        wanted = is_folder or kind is None or kind_of_name(name) == kind
        if not wanted or not name.startswith(start) or (name.startswith(".") and not start):
            continue
        end = "/" if is_folder else begun.quote
        yield Completion(
            typed_folder + _as_typed(name, begun.quote) + end,
            -len(begun.typed),
            display=name + ("/" if is_folder else ""),
        )


def _as_typed(name: str, quote: str) -> str:
    return name if quote else _SPECIAL.sub(r"\\\1", name)


def _entries(folder: Path) -> list[tuple[str, bool]]:
    """Names in a folder and whether each is one; none where it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            found = [
                (entry.name, entry.is_dir()) for entry in entries if not _CONTROL.search(entry.name)
            ]
    except (OSError, ValueError):
        return []
    return sorted(found)[:_MOST]
