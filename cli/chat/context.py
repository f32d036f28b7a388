"""Near the end of the model's context: say so in time, and make room before a message is sent."""

from typing import Any

from gemma4_cli.chat.ask import choose
from gemma4_cli.chat.state import Chat, turns_of
from gemma4_cli.console import remark, status

# From this share of the context on the user is told.
_NEARLY = 0.85
# Room for a reply, in tokens, without which a message is not sent; less in a small context.
_REPLY = 512
# How much of the context the turns that stay may take.
_KEPT = 0.5

_HEADING = "What was said earlier in this conversation:"
_SUMMARISE = (
    "Summarise our conversation so far in a few sentences, with the names, numbers and decisions "
    "that may matter later."
)


def warn(chat: Chat, used: int) -> None:
    """Say once that the context is nearly full."""
    nearly = used > _NEARLY * chat.context_limit
    if nearly and not chat.warned_of_context:
        remark(
            f"the conversation fills {used:,} of the {chat.context_limit:,} tokens of the model's "
            "context: soon its oldest turns must go, which you will be asked about; /clear "
            "begins anew"
        )
    chat.warned_of_context = nearly


def make_room(chat: Chat, message: dict[str, Any]) -> bool:
    """Whether ``message`` and a reply fit, perhaps after the oldest turns have gone.

    Raises InputError and MediaError for a message that cannot be sent at all.
    """
    limit = chat.context_limit
    room = limit - min(_REPLY, limit // 4)
    needed = chat.session.prompt_tokens([message])
    if needed <= room:
        return True
    if not turns_of(chat.session.messages):
        remark(
            f"the message has {needed:,} tokens, but the model's context holds {limit:,} with the "
            "reply: shorten it, or give fewer or smaller media"
        )
        return False
    answer = choose(
        f"the conversation would take {needed:,} of {limit:,} tokens, reply not counted.\n"
        "Make room?",
        {
            "drop": "the oldest turns go",
            "summarise": "and the model sums them up first",
            "cancel": "",
        },
        otherwise="cancel",
    )
    if answer == "cancel":
        return False
    return _forget_oldest(chat, message, room, summarise=answer == "summarise")


def _forget_oldest(chat: Chat, message: dict[str, Any], room: int, *, summarise: bool) -> bool:
    session = chat.session
    before, system = list(session.messages), session.system
    head = before[:1] if system is not None else []
    turns = turns_of(before)
    gone: list[list[Any]] = []
    while turns:
        gone.append(turns.pop(0))
        session.messages = [*head, *(m for turn in turns for m in turn)]
        if session.prompt_tokens([message]) <= _KEPT * room:
            break
    try:
        if summarise:
            summary = _summary(chat, [*head, *(m for turn in gone for m in turn)])
            first, _, _ = (system or "").partition(_HEADING)
            session.system = f"{first.rstrip()}\n\n{_HEADING} {summary}".strip()
        if session.prompt_tokens([message]) > room:
            session.messages = before
            remark("the message is too long even without the earlier turns: shorten it")
            return False
    except BaseException:
        session.messages = before
        raise
    count = len(gone)
    remark(f"{'the oldest turn has' if count == 1 else f'the {count} oldest turns have'} gone")
    return True


def _summary(chat: Chat, messages: list[Any]) -> str:
    from gemma4_mlx.generation.stream import generate

    status("summing up the oldest turns")
    session = chat.session
    # They fill the context nearly, so the oldest of them may have to go unread.
    room = chat.context_limit - min(_REPLY, chat.context_limit // 4)
    asked = [*messages, {"role": "user", "content": _SUMMARISE}]
    while len(turns_of(asked)) > 1 and session.processor.prompt_tokens(asked) > room:
        head = asked[:1] if asked[0]["role"] == "system" else []
        asked = [*head, *(m for turn in turns_of(asked)[1:] for m in turn)]
    return generate(
        session.model, session.processor, asked, max_tokens=_REPLY, temperature=0
    ).strip()
