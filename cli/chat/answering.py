"""A message sent, its reply shown, the tools it asks for run, and all of it kept."""

from contextlib import closing
from typing import TYPE_CHECKING, Any

from gemma4_cli.attachments import content
from gemma4_cli.chat.context import make_room, warn
from gemma4_cli.chat.keeping import keep
from gemma4_cli.chat.media.dropped import take_files
from gemma4_cli.chat.reply.reply_view import ReplyView
from gemma4_cli.chat.reply.status_line import status_line
from gemma4_cli.chat.state import Chat
from gemma4_cli.console import aside, prefill_status, remark

if TYPE_CHECKING:
    from collections.abc import Generator

    from gemma4_mlx.generation.stream import Chunk


def send(chat: Chat, line: str) -> None:
    """Send a message; files and links in it go along.

    One that cannot be sent stands in the line again.
    """
    before = list(chat.waiting)
    chat.draft = line
    try:
        text, files = take_files(line)
        for file in files:
            remark(chat.attach(None, file))
    except BaseException:
        chat.waiting = before
        raise
    if not text and chat.waiting == before:
        return
    send_waiting(chat, text, draft=line)


def send_waiting(chat: Chat, text: str = "", draft: str = "") -> None:
    """Send what waits, and the text after it; ``draft`` stands in the line if that fails."""
    message = {"role": "user", "content": content(chat.waiting, text)}
    chat.draft = draft
    if not make_room(chat, message):
        return
    chat.waiting = []
    count = len(chat.session.messages)
    try:
        answer(chat, chat.session.send_messages([message], prefill_status))
    finally:
        if len(chat.session.messages) > count:
            chat.draft = ""


def answer(chat: Chat, chunks: "Generator[Chunk, None, None]") -> None:
    """Show a reply as it comes, and those that follow the results of tools."""
    rounds = 0
    while True:
        chunk, calls = _show(chat, chunks)
        if chunk is None or chunk.finish_reason != "tool_calls":
            return
        if chat.tools is None:
            name = calls[-1]["function"]["name"]
            remark(f"the model asks for the function {name}: there is none without --tool")
            return
        rounds += 1
        if rounds > chat.tools.most_rounds + 1:
            remark("it goes on asking for functions: say something, or /undo")
            return
        # Every call gets a result, for the history of a conversation cannot be without one.
        run = chat.tools.run if rounds <= chat.tools.most_rounds else chat.tools.refuse
        chunks = chat.session.send_messages(run(calls), prefill_status)


def _show(
    chat: Chat, chunks: "Generator[Chunk, None, None]"
) -> "tuple[Chunk | None, list[dict[str, Any]]]":
    view = ReplyView(chat.thoughts)
    chunk, calls = None, []
    try:
        with closing(chunks):
            for chunk in chunks:
                view.take(chunk)
                calls += chunk.tool_calls
    finally:
        view.close()
        if chunk is not None:
            chat.turns.append(chunk.stats)
            keep(chat)
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
        remedy = "the context is full: /clear, /undo" if full else "/set max_tokens, --max-tokens"
        remark(f"the reply was cut after {stats.generated_tokens} tokens: see {remedy}")
    warn(chat, used)


def again(chat: Chat) -> None:
    """Another reply to the last message."""
    answer(chat, chat.session.retry(prefill_status))
