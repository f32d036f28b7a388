"""``gemma4 chat``: a conversation in the terminal. Light to import, as every command is."""

from gemma4_cli.chat.command import chat

__all__ = ["chat"]
