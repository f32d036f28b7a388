"""The conversation itself: read a message or a command, do what it says, and again."""

from pathlib import Path
from typing import Any

from gemma4_cli.chat.answering import send, send_waiting
from gemma4_cli.chat.commands import Leave, is_command, run_command
from gemma4_cli.chat.speaking import speak
from gemma4_cli.chat.state import Chat
from gemma4_cli.console import complain, remark, say
from gemma4_mlx.errors import Gemma4Error


def converse(chat: Chat, first: str = "") -> None:
    """Read and answer until the user leaves. KeyboardInterrupt for Ctrl-C twice at the prompt."""
    pending, interrupted = first, False
    while True:
        try:
            line, pending = pending or _read(chat), ""
        except EOFError:
            say("\n")
            return
        except KeyboardInterrupt:
            # One may come a moment after the reply that it was meant for.
            if interrupted:
                say("\n")
                raise
            interrupted = True
            remark("Ctrl-C again leaves, and so does Ctrl-D")
            continue
        interrupted = False
        try:
            _take(chat, line)
        except Leave:
            return
        except KeyboardInterrupt:
            remark("stopped; what came is kept")
        except (Gemma4Error, OSError) as error:
            complain(str(error))


def _read(chat: Chat) -> str:
    names = "".join(f"[{_name(part)}] " for part in chat.waiting)
    prompt = f"{names}(Enter to talk) > " if chat.voice else f"{names}> "
    draft, chat.draft = chat.draft, ""
    return chat.editor.read(prompt, draft).strip()


def _name(part: dict[str, Any]) -> str:
    file = part.get("file")
    return Path(file["path"]).name if file else str(part.get("name") or part["type"])


def _take(chat: Chat, line: str) -> None:
    """A command, a message, or Enter alone, which begins to listen or sends what waits."""
    if is_command(line):
        run_command(chat, line)
    elif line:
        send(chat, line)
    elif chat.voice:
        speak(chat)
    elif chat.waiting:
        send_waiting(chat)
