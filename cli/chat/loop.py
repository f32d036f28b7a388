"""The conversation itself: read a message or a command, do what it says, and again."""

import os
from pathlib import Path
from typing import Any

from gemma4_cli.chat.answering import send, send_waiting
from gemma4_cli.chat.commands import Leave, is_command, run_command
from gemma4_cli.chat.keeping import keep
from gemma4_cli.chat.speaking import speak
from gemma4_cli.chat.state import Chat
from gemma4_cli.console import TRACEBACK_VARIABLE, complain, end_line, remark, unexpected
from gemma4_mlx.errors import Gemma4Error


def converse(chat: Chat, first: str = "") -> None:
    """Read and answer until the user leaves. KeyboardInterrupt for Ctrl-C twice at the prompt."""
    pending, interrupted = first, False
    while True:
        try:
            line, pending = pending or _read(chat), ""
        except EOFError:
            end_line()
            return
        except KeyboardInterrupt:
            # One may come a moment after the reply that it was meant for.
            if interrupted:
                end_line()
                raise
            interrupted = True
            remark("Ctrl-C again leaves, and so does Ctrl-D")
            continue
        interrupted = False
        messages = chat.session.messages
        try:
            _take(chat, line)
        except Leave:
            return
        except KeyboardInterrupt:
            came = chat.session.messages is not messages
            remark("stopped; what came is kept" if came else "stopped")
        except (Gemma4Error, OSError) as error:
            complain(str(error))
        except Exception as error:
            # The conversation is worth more than what one turn of it met.
            if os.environ.get(TRACEBACK_VARIABLE):
                raise
            complain(unexpected(error))


def _read(chat: Chat) -> str:
    names = "".join(f"[{_name(part)}] " for part in chat.waiting)
    prompt = f"{names}(Enter to talk) > " if chat.voice else f"{names}> "
    draft, chat.draft = chat.draft, ""
    return chat.editor.read(prompt, draft)


def _name(part: dict[str, Any]) -> str:
    file = part.get("file")
    return Path(file["path"]).name if file else str(part.get("name") or part["type"])


def _take(chat: Chat, line: str) -> None:
    """A command, a message, or Enter alone, which begins to listen or sends what waits."""
    if is_command(line) and not chat.editor.quoted:
        run_command(chat, line.strip())
        keep(chat)
    elif line.strip():
        send(chat, line.rstrip().lstrip("\n"))
    elif chat.voice:
        speak(chat)
    elif chat.waiting:
        send_waiting(chat)
