"""One question, one answer: ``gemma4 generate``, and ``gemma4 chat`` without a terminal."""

import sys
from collections.abc import Sequence
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gemma4_cli import options
from gemma4_cli.attachments import Part, content, fetched, kinds
from gemma4_cli.console import prefill_status, remark
from gemma4_cli.models import open_model
from gemma4_cli.printed_reply import print_json, print_text
from gemma4_mlx.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Generator

    from gemma4_cli.tools.runner import ToolRunner
    from gemma4_mlx.generation.session import ChatSession
    from gemma4_mlx.generation.stream import Chunk
    from gemma4_mlx.tools import Tool


def answer_once(
    text: str,
    parts: Sequence[Part],
    *,
    system: str | None,
    tool_files: Sequence[Path],
    yes_tools: bool,
    model: str | None,
    ple: options.PlePlacement,
    as_json: bool,
    **settings: Any,
) -> None:
    """Answer a text and media, and run the functions that the model asks for on the way.

    ``settings`` are those of ChatSession. Raises InputError where functions were given, nobody is
    there to be asked whether one may run, and the calls are not what was asked for.
    """
    tools = _load_tools(tool_files, yes_tools, as_json)
    question = content(fetched(parts), text)
    name, gemma, processor = open_model(model, ple, kinds(parts))

    from gemma4_mlx.generation.session import ChatSession

    schemas = [tool.schema for tool in tools] or None
    session = ChatSession(gemma, processor, system=system, tools=schemas, **settings)
    replies = session.send(question, prefill_status)
    if tools and (yes_tools or not as_json):
        replies = _with_results(session, replies, _runner(tools, yes_tools))
    with closing(replies):
        if as_json:
            print_json(replies, name, session)
        else:
            print_text(replies, bool(tools))


def _load_tools(files: Sequence[Path], yes: bool, as_json: bool) -> "list[Tool]":
    if not files:
        if yes:
            raise InputError("--yes-tools runs the functions of --tool: give a file with some")
        return []

    from gemma4_cli.tools.runner import load_all

    tools = load_all(files)
    if not (yes or as_json or _somebody_is_there()):
        raise InputError(
            "nobody can be asked here whether a function may run: --yes-tools runs them unasked, "
            "--json gives the calls and runs none"
        )
    return tools


def _somebody_is_there() -> bool:
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def _runner(tools: "list[Tool]", yes: bool) -> "ToolRunner":
    from gemma4_cli.ask import ask_before_running
    from gemma4_cli.tools.runner import ToolRunner

    return ToolRunner(tools, ask=None if yes else ask_before_running, interrupt_ends=True)


def _with_results(
    session: "ChatSession", chunks: "Generator[Chunk, None, None]", runner: "ToolRunner"
) -> "Generator[Chunk, None, None]":
    """A reply, and those that follow the results of its calls."""
    for number in count(1):
        calls: list[dict[str, Any]] = []
        with closing(chunks):
            for chunk in chunks:
                calls += chunk.tool_calls
                yield chunk
        if chunk.finish_reason != "tool_calls":
            return
        results = runner.answer(calls, number)
        if results is None:
            remark("it goes on asking for functions, so this is all it says")
            return
        chunks = session.send_messages(results, prefill_status)
