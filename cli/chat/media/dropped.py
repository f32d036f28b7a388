"""Files and links in a line: what a terminal writes when a file is dropped into it or pasted.

Terminal.app and iTerm write a dropped file's path with a backslash before spaces and brackets,
others put it into quotes or write a file: address; the Finder's "Copy as Pathname" gives it as it
is, spaces and all. Only names that end as those of pictures, recordings and videos count, so that
most text stays text, and what stands in backticks always does.
"""

import os
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath
from urllib.parse import unquote_to_bytes, urlsplit

from gemma4_cli.chat.media.shell_words import SPACES, Word, plain_word, word_at
from gemma4_mlx.errors import MediaError

# By kind, in the order in which a message's media are asked for.
SUFFIXES: dict[str, tuple[str, ...]] = {
    "image": (
        *(".png", ".jpg", ".jpeg", ".jfif", ".webp", ".gif", ".tif", ".tiff", ".bmp"),
        *(".heic", ".heif", ".avif"),
    ),
    "audio": (
        *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".caf"),
        *(".au", ".m4a", ".m4b", ".aac", ".amr", ".wma", ".mka", ".weba"),
    ),
    "video": (*(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".3gp", ".mpg", ".mpeg", ".wmv"),),
}

_OPENING = "([{<'\"“‘«„"
_CLOSING = ".,;:!?)]}>'\"”’»…"
_PATH = re.compile(r"(?:/|~[\w.-]*/|\.\.?/|file:/)", re.IGNORECASE)
_LINK = re.compile(r"https?://[^\s/]", re.IGNORECASE)

# A path whose spaces nothing marks goes over so many words at most.
_MOST_WORDS = 16


@dataclass(frozen=True)
class _Taken:
    """A file or link, where it stands in the line, and the name that a sentence keeps of it."""

    start: int
    end: int
    source: str
    name: str


def take_files(line: str) -> tuple[str, list[str]]:
    """The text without the files and links in it, and these, in order.

    Files come as absolute paths, links as they are. A file in the middle of a sentence leaves its
    name there, at the start or end of a line it leaves nothing. A link counts when its path ends
    as a picture's name does, or when there is nothing but the link.

    Raises MediaError for what has the form of a path, and such a name, when no file is there; in a
    message of several lines, which may be a program's text, only if it has a line to itself.
    """
    link = line.strip().removeprefix("<").removesuffix(">")
    if _LINK.match(link) and not any(character.isspace() for character in link):
        return "", [link]
    lines, files = [], []
    several = "\n" in line.strip()
    for row in line.split("\n"):
        taken = list(_taken(row, several))
        files += [item.source for item in taken]
        text = _without(row, taken)
        if text.strip() or not taken:
            lines.append(text)
    return "\n".join(lines), files


def read_paths(argument: str) -> list[str]:
    """The paths and links after a command, without quotes, escapes and file:.

    They need not exist. An argument that is a path with spaces, as it is, is one.
    """
    whole = argument.strip()
    if whole and _existing(whole):
        return [whole]
    paths, position = [], 0
    while position < len(argument):
        if argument[position] in SPACES:
            position += 1
            continue
        word = word_at(argument, position)
        is_address = word.text.lower().startswith("file:")
        paths.append(_local_path(word.text) if is_address else word.text)
        position = word.end
    return paths


def kind_of_name(name: str) -> str | None:
    """ "image", "audio" or "video" by a name's ending; None for all others."""
    suffix = PurePath(name).suffix.lower()
    return next((kind for kind, suffixes in SUFFIXES.items() if suffix in suffixes), None)


def _taken(row: str, several: bool) -> Iterator[_Taken]:
    position = 0
    while position < len(row):
        if row[position] in SPACES:
            position += 1
            continue
        found = _at(row, position, several)
        if found is not None:
            yield found
            position = found.end
        elif row[position] in _OPENING:
            position += 1
        else:
            position = plain_word(row, position).end


def _at(row: str, start: int, several: bool) -> _Taken | None:
    """The file or link that begins at ``start``; None when something else does."""
    word = _without_punctuation(word_at(row, start), row)
    if _LINK.match(word.text):
        return _picture_link(word)
    has_form = word.escaped or _PATH.match(word.text) is not None
    if kind_of_name(word.text):
        path = _find(word.text)
        if path is not None:
            return _Taken(word.start, word.end, path, os.path.basename(path))
    if has_form and not word.quoted:
        spaced = _with_spaces(row, word)
        if spaced is not None:
            return spaced
    alone = not row[: word.start].strip() and not row[word.end :].strip()
    must_exist = (has_form or (word.quoted and alone)) and (alone or not several)
    if kind_of_name(word.text) and must_exist:
        raise MediaError(_why_not(word.text))
    return None


def _picture_link(word: Word) -> _Taken | None:
    try:
        path = urlsplit(word.text).path
    except ValueError:  # such as an IPv6 address without its end
        return None
    if kind_of_name(path) != "image":
        return None
    return _Taken(word.start, word.end, word.text, PurePath(path).name)


def _with_spaces(row: str, word: Word) -> _Taken | None:
    """An existing file whose path goes on over spaces that nothing marks."""
    end = word.end
    for _ in range(_MOST_WORDS - 1):
        if end == len(row):
            break
        while end < len(row) and row[end] in SPACES:
            end += 1
        while end < len(row) and row[end] not in SPACES:
            end += 1
        longer = _without_punctuation(Word(word.start, end, row[word.start : end]), row)
        if kind_of_name(longer.text):
            path = _find(longer.text)
            if path is not None:
                return _Taken(longer.start, longer.end, path, os.path.basename(path))
    return None


def _without(row: str, taken: list[_Taken]) -> str:
    """The row with files in its midst as their names, and none at its start and end."""
    first, last = 0, len(taken)
    while first < last and not row[_end(taken, first - 1) : taken[first].start].strip():
        first += 1
    begin = _end(taken, first - 1)
    stop = len(row)
    while last > first and not row[taken[last - 1].end : stop].strip():
        last -= 1
        stop = taken[last].start
    text = ""
    for item in taken[first:last]:
        text += row[begin : item.start] + item.name
        begin = item.end
    text += row[begin:stop]
    if first:
        text = text.lstrip(SPACES)
    return text.rstrip(SPACES) if last < len(taken) else text


def _end(taken: list[_Taken], index: int) -> int:
    return taken[index].end if index >= 0 else 0


def _without_punctuation(word: Word, row: str) -> Word:
    """The word without what ends a sentence or a bracket, unless it belongs to the name."""
    text, end = word.text, word.end
    is_link = _LINK.match(text) is not None
    while text and text[-1] in _CLOSING and row[end - 1] == text[-1]:
        if not is_link and kind_of_name(text):
            break
        if is_link and text[-1] == ")" and text.count("(") >= text.count(")"):
            break
        text, end = text[:-1], end - 1
    if is_link or kind_of_name(text):
        return Word(word.start, end, text, word.quoted, word.escaped)
    return word


# --- files ------------------------------------------------------------------------------------


def _find(text: str) -> str | None:
    """The absolute path of a file that is there under this name, or as one normal form of it.

    macOS writes é as e and an accent (NFD) where other systems keep what was typed.
    """
    path = _local_path(text)
    for form in dict.fromkeys((path, *(unicodedata.normalize(f, path) for f in ("NFC", "NFD")))):
        if _existing(form):
            return os.path.abspath(os.path.expanduser(form))
    return None


def _existing(path: str) -> bool:
    try:
        return os.path.isfile(os.path.expanduser(path))
    except (OSError, ValueError):  # a zero byte, or longer than the system allows
        return False


def _local_path(text: str) -> str:
    """The path in a file: address; anything else is a path as it is."""
    if not text.lower().startswith("file:/"):
        return text
    host, path = "", text[len("file:") :]
    if path.startswith("//"):
        host, slash, rest = path[2:].partition("/")
        path = slash + rest
    if host.lower() not in ("", "localhost"):
        raise MediaError(f"{text} is on another machine ({host}): expected the path of a file here")
    return os.fsdecode(unquote_to_bytes(path))


def _why_not(text: str) -> str:
    path = os.path.abspath(os.path.expanduser(_local_path(text)))
    remedy = "check the path, or put it into `backticks` to send it as text"
    try:
        os.stat(path)
    except FileNotFoundError:
        return f"{path} does not exist: {remedy}"
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return f"{path} cannot be opened ({reason}): {remedy}"
    return f"{path} is not a file: {remedy}"
