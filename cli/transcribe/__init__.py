"""``gemma4 transcribe``: recordings into text. Light to import, as every command is."""

from gemma4_cli.transcribe.command import transcribe

__all__ = ["transcribe"]
