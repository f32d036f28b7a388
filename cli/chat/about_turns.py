"""Commands about the conversation: taking back, changing, keeping, handing to another model."""

from pathlib import Path

from gemma4_cli.ask import choose
from gemma4_cli.chat.answering import again, send_waiting
from gemma4_cli.chat.external_editor import edited
from gemma4_cli.chat.keeping import as_saved, restore, turns_so_far, without_ids
from gemma4_cli.chat.state import Chat, text_of
from gemma4_cli.console import remark, say, status
from gemma4_mlx.errors import InputError


def system(chat: Chat, argument: str) -> None:
    """/system [TEXT]; two quotation marks with nothing between them take it away."""
    if not argument:
        say((chat.session.system or "there is no system message: /system TEXT sets one") + "\n")
        return
    text = "" if argument in ('""', "''") else argument
    chat.instruct(system=text)
    remark("the system message is set" if text else "there is no system message any more")


def retry(chat: Chat, argument: str) -> None:
    """/retry"""
    again(chat)


def undo(chat: Chat, argument: str) -> None:
    """/undo: what waits for the next message goes first."""
    if chat.waiting:
        chat.waiting = []
        remark("what was attached is taken away")
        return
    taken = chat.session.undo()
    if not taken:
        raise InputError("there is nothing to take back")
    text = " ".join(text_of(taken[0]).split())
    shown = f"“{text[:57]}…”" if len(text) > 58 else f"“{text}”"
    remark(f"taken back: {shown if text else 'a message without text'}, and the reply to it")


def edit(chat: Chat, argument: str) -> None:
    """/edit: nothing changes unless the text does and is answered."""
    session, waiting = chat.session, chat.waiting
    before = session.messages
    last = next((m for m in reversed(before) if m["role"] == "user"), None)
    if last is None:
        raise InputError("there is no message to change")
    text = text_of(last)
    changed = edited(text).strip()
    if not changed or changed == text.strip():
        remark("nothing was changed")
        return
    session.undo()
    undone = session.messages
    media = last["content"] if not isinstance(last["content"], str) else []
    chat.waiting = [dict(part) for part in media if part["type"] != "text"]
    try:
        send_waiting(chat, changed)
    finally:
        chat.waiting = waiting
        if session.messages is undone:
            session.messages = before
            remark("the message and its reply are as they were")


def clear(chat: Chat, argument: str) -> None:
    """/clear: the kept file of the old conversation stays."""
    from gemma4_cli.chat.sessions.saved import session_file

    chat.session.clear()
    chat.instruct(summary="")
    chat.waiting.clear()
    chat.turns.clear()
    chat.file = session_file() if chat.file is not None else None
    remark("the conversation is forgotten")


def save(chat: Chat, argument: str) -> None:
    """/save FILE"""
    from gemma4_cli.chat.sessions.saved import is_session, write

    file = _file(argument, "/save", "talk.json")
    if not is_session(file) and not _may_overwrite(file):
        return
    write(file, as_saved(chat), force=True)
    remark(f"saved to {file}: /load brings it back")


def load(chat: Chat, argument: str) -> None:
    """/load FILE: the conversation so far stays where --continue keeps it."""
    from gemma4_cli.chat.sessions.saved import read, session_file

    file = _file(argument, "/load", "talk.json")
    status(f"reading {file.name}")
    found, told = read(file)
    restore(chat, found)
    for line in told:
        remark(line)
    chat.file = session_file() if chat.file is not None else None
    other = f", held with {found.model}; {chat.name} goes on" if found.model != chat.name else ""
    remark(f"{file.name}: {turns_so_far(chat)}{other}")


def export(chat: Chat, argument: str) -> None:
    """/export FILE.md"""
    from gemma4_cli.chat.sessions.export import export as write_markdown

    file = _file(argument, "/export", "talk.md")
    if not _may_overwrite(file):
        return
    write_markdown(file, as_saved(chat), force=True)
    remark(f"written to {file}")


def _file(argument: str, command: str, example: str) -> Path:
    if not argument:
        raise InputError(f"{command} needs the name of a file, such as {command} {example}")
    from gemma4_cli.chat.media.dropped import read_paths

    try:
        (found,) = read_paths(argument)
        path = Path(found).expanduser()
    except ValueError:
        raise InputError(f"{command} takes one file, got {argument!r:.60}: put it in quotes") from (
            None
        )
    except RuntimeError as error:  # of a user unknown here
        raise InputError(f"{argument!r:.60} cannot be found: {error}") from None
    if "\0" in found:
        raise InputError(f"{argument!r:.60} is no name of a file")
    if not path.absolute().parent.is_dir():
        raise InputError(f"there is no folder {path.absolute().parent}: make it, or name another")
    if path.is_dir():
        raise InputError(f"{path} is a folder: {command} needs the name of a file in it")
    return path


def _may_overwrite(file: Path) -> bool:
    answers = {"overwrite": "", "cancel": ""}
    return not file.exists() or choose(f"{file} exists:", answers, "cancel") == "overwrite"


def copy(chat: Chat, argument: str) -> None:
    """/copy"""
    from gemma4_cli.chat.media.clipboard import copy_text

    replies = (text_of(m) for m in reversed(chat.session.messages) if m["role"] == "assistant")
    text = next(filter(None, replies), None)
    if text is None:
        raise InputError("there is no reply to copy yet")
    copy_text(text)
    remark(f"copied: {len(text):,} characters")


def model(chat: Chat, argument: str) -> None:
    """/model NAME: the old one stays when the new one cannot go on."""
    if not argument:
        say(f"{chat.name}\n")
        return
    from gemma4_cli.models import open_model
    from gemma4_mlx.generation.session import ChatSession

    name, other, processor = open_model(argument, chat.ple)
    old = chat.session
    session = ChatSession(
        other,
        processor,
        tools=old.tools,
        enable_thinking=old.enable_thinking,
        kv_bits=chat.kv_bits,
    )
    session.messages = [*without_ids(old.messages)]
    waiting = [{"role": "user", "content": list(chat.waiting)}] if chat.waiting else []
    if session.messages or waiting:
        session.prompt_tokens(waiting)  # refuses what this model cannot see or hear
    before = chat.name, chat.session
    chat.name, chat.session = name, session
    try:
        chat.change_settings()
    except BaseException:
        chat.name, chat.session = before
        raise
    remark(f"{Path(name).name} goes on; it reads the conversation with the next message")
