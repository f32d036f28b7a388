"""Functions that the model may call: shown, asked about, run, and answered whatever happens.

Every call gets a result, since a conversation cannot go on without one: what a tool returned as
JSON text, or ``{"error": …}`` that tells the model why there is none. The user hears the same in a
line, with the place in the file where a tool failed.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from gemma4_cli.console import remark, status
from gemma4_cli.tools.files import by_name, file_of, line_in, load_all, load_tools
from gemma4_cli.tools.lines import call_line, plain_line, printed_lines, whole_call, word
from gemma4_cli.tools.thread import Apart, leave, left_behind, run_apart
from gemma4_mlx.errors import InputError
from gemma4_mlx.tools import Tool, result_text

__all__ = ["Answer", "ToolRunner", "leave", "left_behind", "load_all", "load_tools"]

Answer = bool | Literal["always"]

_LONGEST = 20_000  # characters of a result: some 5,000 tokens
_LONGEST_ERROR = 1_000
_PRINTED = 4_000  # bytes of what a tool prints
_STOPPED = "stopped by the user"


@dataclass(frozen=True)
class _Told:
    """A result for the model, and the line about it for the user."""

    content: str
    line: str


class ToolRunner:
    """Runs the calls of a reply, one after the other.

    ``ask`` is given the text of a question, after the whole call has been shown, and answers
    whether the tool may run; "always" holds for this tool as long as the runner lives. With None
    nothing is asked. A tool gets ``timeout`` seconds. Ctrl-C stops the tool that runs and every
    call after it, and the model is told; with ``interrupt_ends`` it is raised instead.
    ``most_rounds`` is how many replies to one message may be answered with ``run``; then comes
    ``refuse``, so that the model says what it has. InputError for two tools of one name and for
    limits out of range.
    """

    def __init__(
        self,
        tools: Iterable[Tool],
        *,
        ask: Callable[[str], Answer] | None,
        timeout: float = 60.0,
        most_rounds: int = 8,
        interrupt_ends: bool = False,
    ):
        if not 0 < timeout < math.inf:
            raise InputError(f"timeout is {timeout!r:.60}, expected a number of seconds above 0")
        if most_rounds < 1:
            raise InputError(f"most_rounds is {most_rounds!r:.60}, expected at least 1")
        self.tools = by_name(tools)
        self.timeout, self.most_rounds = timeout, most_rounds
        self._ask, self._interrupt_ends = ask, interrupt_ends
        self._always: set[str] = set()

    def run(self, tool_calls: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The results of a reply's calls, in their order, as messages for ``send_messages``.

        Nothing that a tool or a call does is raised here.
        """
        stopped = False
        results = []
        for call in tool_calls:
            name, given = call["function"]["name"], call["function"].get("arguments")
            if not stopped:
                try:
                    content = self._result(name, given or {})
                except KeyboardInterrupt:
                    if self._interrupt_ends:
                        raise
                    stopped = True
                    running = "; it may still run" if name in left_behind() else ""
                    remark(f"{word(name)} {_STOPPED}{running}")
            results.append(_message(call, _error(_STOPPED) if stopped else content))
        return results

    def answer(
        self, tool_calls: Sequence[Mapping[str, Any]], number: int
    ) -> list[dict[str, Any]] | None:
        """The results for the calls of the ``number``-th reply to a message, counted from 1.

        After ``most_rounds`` the calls are refused; None: the model goes on asking nevertheless.
        """
        if number > self.most_rounds + 1:
            return None
        return (self.run if number <= self.most_rounds else self.refuse)(tool_calls)

    def refuse(self, tool_calls: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Results that say that no more calls are run for this message."""
        rounds = f"{self.most_rounds} rounds of function calls"
        remark(
            f"not run after {rounds}: {', '.join(word(c['function']['name']) for c in tool_calls)}"
        )
        why = _error(f"not run: there have been {rounds}. Answer now with what you know.")
        return [_message(call, why) for call in tool_calls]

    def _result(self, name: str, given: Mapping[str, Any]) -> str:
        tool = self.tools.get(name)
        if tool is None:
            names = ", ".join(self.tools)
            return _failed(f"there is no tool {plain_line(word(name))} (there are: {names})")
        try:
            arguments = tool.arguments(given)
        except InputError as error:
            return _failed(f"wrong call: {error}")
        if not self._may_run(name, given):
            remark(f"{name} was not run")
            return _error("the user did not allow this call")
        status(f"running {name}")
        start = time.perf_counter()
        apart = run_apart(lambda: _run(tool, arguments), name, self.timeout, _PRINTED)
        return self._tell(name, apart, time.perf_counter() - start)

    def _may_run(self, name: str, given: Mapping[str, Any]) -> bool:
        if self._ask is None or name in self._always:
            remark(f"the model calls {call_line(name, given)}")
            return True
        remark(f"the model asks for {whole_call(name, given)}")
        try:
            answer = self._ask(f"run {name}?")
        except EOFError:
            return False
        if answer == "always":
            self._always.add(name)
        return answer is True or answer == "always"

    def _tell(self, name: str, apart: Apart[_Told], seconds: float) -> str:
        if apart.printed:
            lines = printed_lines(apart.printed, apart.unseen)
            remark(f"{name} printed (the model does not see it):\n{lines}")
        if not apart.done:
            why = f"no result after {self.timeout:g} s"
            remark(f"{name}: {why}; it is left behind and may still run")
            return _error(f"{why}: the tool was given up and may still be running")
        (told,) = apart.done
        remark(f"{name} {told.line} ({seconds:.1f} s)")
        return told.content


def _run(tool: Tool, arguments: dict[str, Any]) -> _Told:
    """Runs in the tool's thread, where what it returns or raises is turned into text as well.

    BaseException is caught, for sys.exit and KeyboardInterrupt in a tool end that tool alone.
    """
    try:
        text, cut = result_text(tool.function(**arguments), _LONGEST)
    except BaseException as error:
        return _raised(tool, error)
    return _Told(text, f"gave {plain_line(text)}" + (f"; the model gets {cut}" if cut else ""))


def _raised(tool: Tool, error: BaseException) -> _Told:
    try:
        said = str(error)
    except BaseException:  # its own __str__ fails: the kind has to do
        said = ""
    file = file_of(tool.function)
    line = line_in(file, error)
    if isinstance(error, InputError) and line is None:  # of result_text
        return _Told(_error(said), f"gave no result: {plain_line(said, 300)}")
    what = ": ".join(part for part in (type(error).__name__, said) if part)
    place = "" if line is None else f" ({file}, line {line})"
    return _Told(_error(what), f"raised {plain_line(what, 300)}{place}")


def _failed(why: str) -> str:
    remark(plain_line(why, 600))
    return _error(why)


def _error(why: str) -> str:
    return result_text({"error": why[:_LONGEST_ERROR]}, _LONGEST)[0]


def _message(call: Mapping[str, Any], content: str) -> dict[str, Any]:
    name = call["function"]["name"]
    return {"role": "tool", "tool_call_id": call.get("id"), "name": name, "content": content}
