"""A conversation as a file: /save and /load.

The file is JSON that people may read and edit (its fields: checks.py), with media as
saved_media says. It is written whole or not at all, for its owner alone, and never over a file that
is something else. Nothing is loaded of a file that has a fault anywhere.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gemma4_cli.chat.sessions.checks import FORMAT, VERSION, check_session
from gemma4_cli.chat.sessions.folder import last_session, session_file
from gemma4_cli.chat.sessions.json_text import LARGEST, laid_out, parse
from gemma4_cli.chat.sessions.private_files import write_private
from gemma4_cli.chat.sessions.saved_media import Finder, Keeper, media_folder
from gemma4_mlx.errors import InputError

__all__ = ["Saved", "is_session", "last_session", "read", "session_file", "write"]

Message = dict[str, Any]


@dataclass
class Saved:
    """A conversation: the model's name, messages as ChatSession holds them, and settings.

    Token ids in it are those of ``model``.
    """

    model: str
    messages: list[Message]
    settings: dict[str, Any] = field(default_factory=dict)


def write(file: Path, saved: Saved, force: bool = False) -> None:
    """Write a conversation, in place of an earlier one or, with ``force``, of any file.

    Raises InputError when the place cannot be written or is taken by something else, and for what
    a session file has no word for; then what was there is as it was.
    """
    try:
        target = _resolved(file)
        _check_place(target, force)
        keeper = Keeper(media_folder(target))
        told = {
            FORMAT: VERSION,
            "model": saved.model,
            "settings": saved.settings,
            "messages": _with_parts(saved.messages, keeper.put, _with_hash),
        }
        check_session(told)  # what is written can be read
        data = (laid_out(told) + "\n").encode()
        if len(data) > LARGEST:
            raise InputError(f"the conversation takes {len(data):,} bytes, more than {LARGEST:,}")
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        keeper.write()
        write_private(target, lambda output: output.write(data))
    except OSError as error:
        raise InputError(
            f"{file} cannot be written ({error.strerror or error}): choose another place"
        ) from None
    keeper.tidy()


def read(file: Path) -> tuple[Saved, list[str]]:
    """A conversation, and a line for each medium of it that cannot be had any more.

    Such a medium's part becomes a text that says so. Raises InputError, naming the place, when
    anything in the file is not as it should be.
    """
    try:
        target = _resolved(file)
        told = parse(_content(target))
        check_session(told)
    except OSError as error:
        raise InputError(
            f"{file} cannot be read ({error.strerror or error}): check the path"
        ) from None
    except InputError as error:
        raise InputError(f"{file} cannot be loaded: {error}") from None
    finder = Finder(media_folder(target))
    notices: list[str] = []

    def without_hash(message: Message, where: str) -> Message:
        return _without_hash(message, where, notices)

    messages = _with_parts(told["messages"], finder.find, without_hash)
    return Saved(told["model"], messages, told["settings"]), notices + finder.notices


def is_session(file: Path) -> bool:
    """Whether a file is a saved conversation, of whatever version and with whatever faults in it.

    One whose JSON is broken is not known as such.
    """
    try:
        found = parse(_content(_resolved(file)))
    except (InputError, OSError):
        return False
    return isinstance(found, dict) and FORMAT in found


def _check_place(target: Path, force: bool) -> None:
    if not target.exists():
        return
    if not target.is_file():
        raise InputError(f"{target} is there already and is no file: choose another name")
    if not force and not is_session(target):
        raise InputError(
            f"{target} is there already and is no saved conversation: choose another name"
        )


def _resolved(file: Path) -> Path:
    """The file itself where its name is a link to it; a session's media lie beside the file."""
    try:
        return Path(file).expanduser().resolve()
    except RuntimeError as error:  # links in a circle, a home that nobody has
        raise InputError(f"{file} is no path that leads to a file ({error})") from None


def _content(file: Path) -> bytes:
    """All of a file. Raises OSError, and InputError for what cannot be a session."""
    if file.is_dir():
        raise InputError("it is a folder; expected the JSON file of a conversation")
    if file.exists() and not file.is_file():
        raise InputError("it is no regular file; expected the JSON file of a conversation")
    with file.open("rb") as source:
        data = source.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise InputError(f"it has more than {LARGEST:,} bytes, as no saved conversation has")
    return data


def _with_parts(
    messages: list[Message],
    change: Callable[[dict[str, Any], str], dict[str, Any]],
    whole: Callable[[Message, str], Message],
) -> list[Message]:
    """The messages with every part changed, and then the message."""
    changed = []
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        content = message.get("content")
        if isinstance(content, list | tuple):
            parts = [change(part, f"{where}.content[{n}]") for n, part in enumerate(content)]
            message = {**message, "content": parts}
        changed.append(whole(message, where))
    return changed


def _with_hash(message: Message, _where: str) -> Message:
    if "token_ids" not in message:
        return dict(message)
    return {**message, "text_sha256": _text_sha256(message)}


def _without_hash(message: Message, where: str, notices: list[str]) -> Message:
    """Ids that stand for another text than the message now has would win over it: they go."""
    message = dict(message)
    hashed = message.pop("text_sha256", None)
    if "token_ids" in message and hashed != _text_sha256(message):
        del message["token_ids"]
        notices.append(f"{where}: its text was edited, so its token ids are left out")
    return message


def _text_sha256(message: Message) -> str:
    text = laid_out(message.get("content")) if message.get("content") is not None else ""
    return hashlib.sha256(text.encode()).hexdigest()
