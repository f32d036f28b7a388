"""The commands of a conversation: a table, and how a line is looked up in it."""

import difflib
import re
import shutil
import textwrap
from collections.abc import Callable
from dataclasses import dataclass

from gemma4_cli.chat import about_talk, about_turns
from gemma4_cli.chat.state import Chat
from gemma4_cli.console import say
from gemma4_mlx.errors import InputError

Run = Callable[[Chat, str], None]

_COMMAND = re.compile(r"/[^\W\d_][\w-]*")


class Leave(Exception):
    """The user wants to go."""


@dataclass(frozen=True)
class Command:
    """``argument`` is what it takes, as the help shows it."""

    name: str
    argument: str
    help: str
    run: Run


def words() -> dict[str, str]:
    """The commands with their arguments, and what each does: for the help and for completion."""
    return {f"{c.name} {c.argument}".strip(): c.help for c in COMMANDS.values()}


def is_command(line: str) -> bool:
    """A slash and one word; a path has another slash or a dot in its first word.

    A slash alone and ``/?`` are asked by people who look for help.
    """
    first = line.split(maxsplit=1)[0] if line.strip() else ""
    return _COMMAND.fullmatch(first) is not None or line.strip() in ("/", "/?")


def run_command(chat: Chat, line: str) -> None:
    """Do what a line with a command says. InputError for one that there is not.

    Raises Leave for /exit.
    """
    word, *rest = line.split(maxsplit=1)
    word = _ALIASES.get(word.lower(), word.lower())
    command = COMMANDS.get(word)
    if command is None:
        near = difflib.get_close_matches(word, COMMANDS, n=1) or [
            name for name in COMMANDS if word != "/" and name.startswith(word)
        ]
        hint = f"did you mean {near[0]}? " if near else ""
        raise InputError(f"there is no command {word}: {hint}/help lists those there are")
    argument = rest[0].strip() if rest else ""
    if argument and not command.argument:
        raise InputError(f"{word} takes nothing after it, got {argument!r:.60}")
    command.run(chat, argument)


def _help(chat: Chat, argument: str) -> None:
    columns = shutil.get_terminal_size().columns - 1
    width = max(map(len, words())) + 2
    if columns < width + 24:  # the text below its command
        lines = [line for word, text in words().items() for line in (word, f"    {text}")]
    else:
        lines = [f"{word:{width}}{text}" for word, text in words().items()]
    indent = " " * (width if columns >= width + 24 else 4)
    for line in (*lines, *_KEYS):
        say(textwrap.fill(line, columns, subsequent_indent=indent * (line not in _KEYS)) + "\n")


def _exit(chat: Chat, argument: str) -> None:
    raise Leave


_KEYS = (
    'Alt-Enter begins a new line, and so does a message between """ and """. Ctrl-C stops a reply '
    "and keeps what has come.",
    "Files and links to pictures in a message go along with it; Enter alone sends what is "
    "attached.",
)

COMMANDS = {
    command.name: command
    for command in (
        Command("/image", "PATH", "show it a picture with the next message", about_talk.image),
        Command("/audio", "PATH", "play it a recording", about_talk.audio),
        Command("/video", "PATH", "show it a video", about_talk.video),
        Command("/paste", "", "show it the picture on the clipboard", about_talk.paste),
        Command("/budget", "70…1120", "how closely it looks at pictures", about_talk.budget),
        Command("/mic", "", "speak the next message", about_talk.mic),
        Command("/voice", "on|off", "speak every message: Enter begins", about_talk.voice),
        Command("/think", "on|off|show|hide", "think before answering; thoughts", about_talk.think),
        Command(
            "/system",
            "TEXT",
            'the system message: show or set it; "" takes it away',
            about_turns.system,
        ),
        Command("/retry", "", "another reply to the last message", about_turns.retry),
        Command(
            "/undo",
            "",
            "take back what is attached, else the last message and its reply",
            about_turns.undo,
        ),
        Command("/edit", "", "change the last message in $EDITOR, send it", about_turns.edit),
        Command("/clear", "", "forget the conversation", about_turns.clear),
        Command("/save", "FILE", "keep the conversation in a file", about_turns.save),
        Command("/load", "FILE", "go on with one that was saved", about_turns.load),
        Command("/export", "FILE.md", "write it down as Markdown", about_turns.export),
        Command("/copy", "", "put the last reply on the clipboard", about_turns.copy),
        Command("/stats", "", "tokens and times of every turn", about_talk.stats),
        Command(
            "/set",
            "NAME VALUE",
            "temperature, top_p, top_k, seed, max_tokens; the value default resets",
            about_talk.set_,
        ),
        Command("/model", "NAME", "let another model go on", about_turns.model),
        Command("/help", "", "this list", _help),
        Command("/exit", "", "leave (so does Ctrl-D)", _exit),
    )
}
_ALIASES = {"/quit": "/exit", "/bye": "/exit", "/?": "/help"}
