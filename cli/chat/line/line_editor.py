"""Where the user types: prompt_toolkit on a terminal, plain input() everywhere else.

It brings history, editing with the keys of emacs or vi, several lines, paste and completion.
"""

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from gemma4_cli.chat.line.several_lines import is_open, without_marks
from gemma4_cli.console import notice, plain

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession

    from gemma4_cli.chat.line.history import PrivateHistory

_GOES_ON = "… "

# Seconds to wait after Esc for the rest of a key combination.
_AFTER_ESCAPE = 0.3


class LineEditor:
    """Reads one message after the other.

    ``words`` gives the commands with what they take, such as ``/image PATH``, and what each does.
    ``history`` is the file where lines are kept, None to keep none. ``vi``: vi's keys.
    """

    def __init__(self, words: Callable[[], Mapping[str, str]], history: Path | None, vi: bool):
        self._words, self._history_file, self._vi = words, history, vi
        self._session: PromptSession[str] | None = None
        self._history: PrivateHistory | None = None
        self._told = False
        # Whether the last message stood between quotation marks, and so is a message for sure.
        self.quoted = False

    def read(self, prompt: str, default: str = "") -> str:
        """One message, beginning as ``default``.

        Raises EOFError for Ctrl-D on an empty line, KeyboardInterrupt for Ctrl-C on one.
        """
        prompt = "".join(c if c.isprintable() else " " for c in prompt)
        if not _is_terminal():
            return self._unmarked(_read_plainly(prompt))
        if self._session is None:
            self._session = self._make_session()
        text = self._session.prompt(lambda: _fitting(prompt), default=default)
        if self._history is not None and self._history.trouble and not self._told:
            self._told = True
            notice(plain(self._history.trouble))
        return self._unmarked(text)

    def _unmarked(self, text: str) -> str:
        message = without_marks(text)
        self.quoted = message != text
        return message

    def _make_session(self) -> "PromptSession[str]":
        from prompt_toolkit import PromptSession
        from prompt_toolkit.application import get_app
        from prompt_toolkit.enums import EditingMode
        from prompt_toolkit.filters import Condition
        from prompt_toolkit.layout.processors import TabsProcessor

        from gemma4_cli.chat.line.completion import ChatCompleter
        from gemma4_cli.chat.line.history import PrivateHistory
        from gemma4_cli.chat.line.keys import key_bindings

        @Condition
        def in_a_command() -> bool:
            text = get_app().current_buffer.text
            return text.startswith("/") and not any(c.isspace() or c == "/" for c in text[1:])

        if self._history_file is not None:
            self._history = PrivateHistory(self._history_file)
        session: PromptSession[str] = PromptSession(
            history=self._history,
            multiline=True,
            prompt_continuation=_continuation,
            key_bindings=key_bindings(),
            completer=ChatCompleter(self._words),
            complete_while_typing=in_a_command,
            complete_in_thread=True,
            editing_mode=EditingMode.VI if self._vi else EditingMode.EMACS,
            input_processors=[TabsProcessor(char1=" ", char2=" ")],
            reserve_space_for_menu=6,
            enable_suspend=True,
        )
        session.app.timeoutlen = session.app.ttimeoutlen = _AFTER_ESCAPE
        # Terminals that do not tell where their cursor is work as well: nothing to warn of.
        session.app.renderer.cpr_not_supported_callback = None
        return session


def _is_terminal() -> bool:
    """Whether lines can be edited: a terminal on both sides that moves its cursor."""
    dumb = os.environ.get("TERM", "").lower() in ("dumb", "unknown")
    return not dumb and _isatty(sys.stdin) and _isatty(sys.stdout)


def _isatty(stream: object) -> bool:
    try:
        return bool(stream.isatty())  # type: ignore[attr-defined]
    except (AttributeError, ValueError):  # there is none, or it is closed
        return False


def _fitting(prompt: str) -> str:
    """The prompt, or its end where it would take more than half of the terminal's width."""
    from prompt_toolkit.application import get_app
    from prompt_toolkit.utils import get_cwidth

    room = max(get_app().output.get_size().columns // 2, 3)
    if get_cwidth(prompt) <= room:
        return prompt
    end = prompt
    while end and get_cwidth(end) > room - 1:
        end = end[1:]
    return f"…{end}"


def _continuation(width: int, line: int, wraps: int) -> str:
    """What stands before further lines; nothing before the rest of a long one."""
    return "" if wraps else _GOES_ON


def _read_plainly(prompt: str) -> str:
    """The same message without editing; the prompt stays out of what is piped on."""
    lines = [_input(prompt)]
    while is_open("\n".join(lines)):
        try:
            lines.append(_input(_GOES_ON))
        except EOFError:
            break
    return "\n".join(lines)


def _input(prompt: str) -> str:
    if _isatty(sys.stdout) or not _isatty(sys.stderr):
        return input(prompt)
    with redirect_stdout(sys.stderr):
        return input(prompt)
