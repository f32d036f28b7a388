"""A message sent, its reply shown, the tools it asks for run, and all of it kept."""

from contextlib import closing
from itertools import count
from typing import TYPE_CHECKING, Any

from gemma4_cli.attachments import content
from gemma4_cli.chat.context import fitting, make_room, warn
from gemma4_cli.chat.keeping import keep
from gemma4_cli.chat.media.dropped import take_files
from gemma4_cli.chat.reply.reply_view import ReplyView
from gemma4_cli.chat.reply.status_line import status_line
from gemma4_cli.chat.state import Chat
from gemma4_cli.console import aside, prefill_status, remark
from gemma4_cli.tools.lines import asks_in_vain

if TYPE_CHECKING:
    from collections.abc import Generator

    from gemma4_mlx.generation.stream import Chunk


def send(chat: Chat, line: str) -> None:
    """Send a message; files and links in it go along.

    One that was not sent stands in the line again.
    """
    messages, waiting = chat.session.messages, list(chat.waiting)
    try:
        text, files = take_files(line)
        for file in files:
            remark(chat.attach(None, file))
        send_waiting(chat, text)
    finally:
        if chat.session.messages is messages:
            chat.waiting, chat.draft = waiting, line


def send_waiting(chat: Chat, text: str = "") -> None:
    """Send what waits, and the text after it.

    A session has another list of messages when something was kept of the reply; else all is as it
    was, the turns that made room and what waits included.
    """
    session, waiting = chat.session, chat.waiting
    messages, summary = session.messages, chat.summary
    message = {"role": "user", "content": content(waiting, text)}
    kept = False
    try:
        if make_room(chat, message):
            with_room = session.messages
            chat.waiting = []
            try:
                answer(chat, session.send_messages([message], prefill_status))
            finally:
                kept = session.messages is not with_room
    finally:
        if not kept:
            session.messages, chat.summary, chat.waiting = messages, summary, waiting


def answer(chat: Chat, chunks: "Generator[Chunk, None, None]") -> None:
    """Show a reply as it comes, and those that follow the results of tools."""
    results: list[dict[str, Any]] = []
    try:
        for number in count(1):
            chunk, calls = _show(chat, chunks)
            if chunk is None or chunk.finish_reason != "tool_calls":
                return
            if chat.tools is None:
                remark(asks_in_vain(calls))
                return
            answered = chat.tools.answer(calls, number)
            if answered is None:
                remark("it goes on asking for functions: say something, or /undo")
                return
            results = fitting(chat, answered)
            chunks = chat.session.send_messages(results, prefill_status)
    finally:
        _answer_open_calls(chat, results)
        keep(chat)


def _answer_open_calls(chat: Chat, results: list[dict[str, Any]]) -> None:
    """A call without a result would leave the history cut in the middle of an exchange.

    ``results`` are those of the last calls that were run, which the model may not have read.
    """
    messages = chat.session.messages
    calls = messages[-1].get("tool_calls") if messages else None
    if not calls:
        return
    known = {result["tool_call_id"]: result for result in results}
    not_run = [
        {
            "role": "tool",
            "tool_call_id": call.get("id"),
            "name": call["function"]["name"],
            "content": '{"error": "not run"}',
        }
        for call in calls
    ]
    answers = [known.get(answer["tool_call_id"], answer) for answer in not_run]
    chat.session.messages = [*messages, *answers]


def _show(
    chat: Chat, chunks: "Generator[Chunk, None, None]"
) -> "tuple[Chunk | None, list[dict[str, Any]]]":
    view = ReplyView(chat.thoughts)
    chunk, calls = None, []
    try:
        view.open()
        with closing(chunks):
            for chunk in chunks:
                view.take(chunk)
                calls += chunk.tool_calls
    finally:
        view.close()
        if chunk is not None:
            chat.turns.append(chunk.stats)
    if chunk is not None:
        _tell(chat, chunk)
    return chunk, calls


def _tell(chat: Chat, chunk: "Chunk") -> None:
    import mlx.core as mx

    stats = chunk.stats
    used = stats.prompt_tokens + stats.generated_tokens
    aside(status_line(stats, used, chat.context_limit, mx.get_active_memory()))
    if chunk.finish_reason == "length":
        full = used >= chat.context_limit
        why = "the context is full" if full else "/set max_tokens allows more"
        remark(f"the reply was cut after {stats.generated_tokens} tokens: {why}")
    warn(chat, used)


def again(chat: Chat) -> None:
    """Another reply to the last message."""
    answer(chat, chat.session.retry(prefill_status))
