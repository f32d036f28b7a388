"""Keeping a conversation in a file, and going on with one that was kept."""

from collections.abc import Mapping, Sequence
from typing import Any

from gemma4_cli.chat.sessions.saved import Saved, write
from gemma4_cli.chat.state import SETTINGS, Chat
from gemma4_cli.console import remark
from gemma4_mlx.errors import Gemma4Error


def as_saved(chat: Chat) -> Saved:
    """The conversation as it is now."""
    settings: dict[str, Any] = {k: v for k, v in chat.settings.items() if v is not None}
    settings["think"] = chat.session.enable_thinking
    if chat.budget is not None:
        settings["budget"] = chat.budget
    return Saved(chat.name, [dict(message) for message in chat.session.messages], settings)


def keep(chat: Chat) -> None:
    """Write the conversation where ``--continue`` finds it. What prevents that is said once."""
    if chat.file is None or not chat.session.messages:
        return
    try:
        write(chat.file, as_saved(chat))
    except (Gemma4Error, OSError) as error:
        remark(f"this conversation cannot be kept for --continue: {error}")
        chat.file = None


def restore(chat: Chat, saved: Saved) -> None:
    """Go on with ``saved``. InputError, and nothing changes, when this model cannot.

    Ids belong to the tokenizer of the model that wrote them.
    """
    messages = saved.messages if saved.model == chat.name else without_ids(saved.messages)
    settings = {key: saved.settings.get(key) for key in SETTINGS}
    before = chat.session.messages
    chat.session.messages = list(messages)
    try:
        if messages:
            chat.session.prompt_tokens()
        chat.change_settings(**settings)
    except Gemma4Error:
        chat.session.messages = before
        raise
    chat.session.enable_thinking = bool(saved.settings.get("think"))
    chat.budget = saved.settings.get("budget")
    chat.session.max_soft_tokens = chat.budget
    chat.waiting.clear()
    chat.turns.clear()


def without_ids(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The messages for another model: replies as text, to be encoded by its tokenizer."""
    return [{k: v for k, v in message.items() if k != "token_ids"} for message in messages]
