"""From the options of ``gemma4 chat`` to a conversation: model, tools, and the last session."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gemma4_cli import options
from gemma4_cli.attachments import Part, kinds
from gemma4_cli.chat.state import Chat, Thoughts
from gemma4_cli.console import aside, remark
from gemma4_cli.models import open_model
from gemma4_cli.settings import state_folder
from gemma4_mlx.errors import InputError


@dataclass
class ChatOptions:
    """What the options say."""

    model: str | None
    ple: options.PlePlacement
    kv_bits: int | None
    parts: list[Part]
    prompt: str
    system: str | None
    enable_thinking: bool
    settings: dict[str, Any]
    image_tokens: int | None
    go_on: bool
    voice: bool
    tool_files: list[Path] = field(default_factory=list)
    yes_tools: bool = False
    thoughts: Thoughts = "show"
    vi: bool = False


def start(given: ChatOptions) -> None:
    """Open everything that was asked for, and converse until the user leaves."""
    from gemma4_cli.chat.keeping import turns_so_far
    from gemma4_cli.chat.loop import converse

    chat = make_chat(given)
    name = Path(chat.name).name
    aside(f"{name}: /help lists the commands, Ctrl-D leaves")
    if given.go_on:
        aside(f"going on after {turns_so_far(chat)}")
    converse(chat, given.prompt)


def make_chat(given: ChatOptions) -> Chat:
    """The conversation, ready for its first message."""
    from gemma4_cli.ask import ask_before_running
    from gemma4_cli.chat.commands import words
    from gemma4_cli.chat.line.line_editor import LineEditor
    from gemma4_cli.chat.sessions import saved
    from gemma4_cli.tools.runner import ToolRunner, load_all

    tools = load_all(given.tool_files)
    last: saved.Saved | None = None
    if given.go_on:
        file = saved.last_session()
        if file is None:
            raise InputError("there is no conversation to go on with: leave out --continue")
        last, told = saved.read(file)
        for line in told:
            remark(line)
    named = given.model or (last.model if last else None)
    name, model, processor = open_model(named, given.ple, kinds(given.parts))

    from gemma4_mlx.generation.session import ChatSession

    session = ChatSession(
        model,
        processor,
        tools=[tool.schema for tool in tools] or None,
        kv_bits=given.kv_bits,
    )
    chat = Chat(
        name,
        session,
        LineEditor(words, state_folder() / "history", given.vi),
        ple=given.ple,
        kv_bits=given.kv_bits,
        thoughts=given.thoughts,
        voice=given.voice,
        file=saved.session_file(),
    )
    if tools:
        ask = None if given.yes_tools else ask_before_running
        chat.tools = ToolRunner(tools, ask=ask)
    if last is not None:
        from gemma4_cli.chat.keeping import restore

        restore(chat, last)
    # What the options say counts for more than what was kept.
    if given.system is not None:
        chat.instruct(system=given.system)
    session.enable_thinking = session.enable_thinking or given.enable_thinking
    chat.budget = given.image_tokens or chat.budget
    chat.change_settings(**{k: v for k, v in given.settings.items() if v is not None})
    if chat.voice:
        chat.check_hears()
    for part in given.parts:
        remark(chat.attach(part["type"], part[part["type"]]))
    return chat
