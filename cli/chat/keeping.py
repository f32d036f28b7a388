"""Keeping a conversation in a file, and going on with one that was kept."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gemma4_cli.chat.sessions.folder import remove
from gemma4_cli.chat.sessions.saved import Saved, write
from gemma4_cli.chat.state import SETTINGS, SUMMARY_HEADING, Chat, turns_of
from gemma4_cli.console import remark
from gemma4_mlx.errors import Gemma4Error


def as_saved(chat: Chat) -> Saved:
    """The conversation as it is now."""
    settings: dict[str, Any] = {k: v for k, v in chat.settings.items() if v is not None}
    settings["think"] = chat.session.enable_thinking
    if chat.budget is not None:
        settings["budget"] = chat.budget
    messages = [dict(message) for message in chat.session.messages]
    return Saved(_lasting_name(chat), messages, settings)


def _lasting_name(chat: Chat) -> str:
    """A folder's name means something in this folder alone."""
    path = Path(chat.name)
    return str(path.absolute()) if path.is_dir() else chat.name


def keep(chat: Chat) -> None:
    """Write the conversation where ``--continue`` finds it. What prevents that is said once."""
    if chat.file is None:
        return
    try:
        if turns_of(chat.session.messages):
            write(chat.file, as_saved(chat))
        else:  # all was taken back
            remove(chat.file)
    except (Gemma4Error, OSError) as error:
        remark(f"this conversation cannot be kept for --continue: {error}")
        chat.file = None


def restore(chat: Chat, saved: Saved) -> None:
    """Go on with ``saved``. InputError, and nothing changes, when this model cannot.

    Ids belong to the tokenizer of the model that wrote them.
    """
    same = saved.model == _lasting_name(chat)
    messages = saved.messages if same else without_ids(saved.messages)
    settings = {key: saved.settings.get(key) for key in SETTINGS}
    before = chat.session.messages
    chat.session.messages = list(messages)
    try:
        if messages:
            chat.session.prompt_tokens()
        chat.change_settings(**settings)
    except BaseException:
        chat.session.messages = before
        raise
    chat.session.clear()
    chat.session.messages = list(messages)
    system, _, summary = (chat.session.system or "").partition(SUMMARY_HEADING)
    chat.instruct(system=system.rstrip(), summary=summary.strip())
    chat.session.enable_thinking = bool(saved.settings.get("think"))
    chat.budget = saved.settings.get("budget")
    chat.waiting.clear()
    chat.turns.clear()


def turns_so_far(chat: Chat) -> str:
    """``3 turns``."""
    count = sum(message["role"] == "user" for message in chat.session.messages)
    return f"{count} turn{'' if count == 1 else 's'}"


def without_ids(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The messages for another model: replies as text, to be encoded by its tokenizer."""
    return [{k: v for k, v in message.items() if k != "token_ids"} for message in messages]
