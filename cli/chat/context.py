"""Near the end of the model's context: say so in time, and make room before a message is sent."""

from typing import Any

from gemma4_cli.ask import choose
from gemma4_cli.chat.state import Chat, text_of, turns_of
from gemma4_cli.console import remark, status

# From this share of the context on the user is told.
_NEARLY = 0.85
# Room for a reply, in tokens, without which a message is not sent; less in a small context.
_REPLY = 512
# How much of the context is filled after turns have gone, if the message allows.
_KEPT = 0.5
# The most tokens of a picture, of 30 s of sound and of a video of 32 frames, with what frames them.
_MEDIUM = {"image": 1200, "audio": 800, "video": 3200}

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
    limit, room = chat.context_limit, _room(chat)
    if _surely_fits(chat, message, room):
        return True
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


def fitting(chat: Chat, results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The results of function calls; those for which there is no room say so to the model."""
    results = list(results)
    for index in sorted(range(len(results)), key=lambda i: -len(results[i]["content"])):
        if chat.session.prompt_tokens(results) <= _room(chat):
            break
        name = results[index]["name"]
        remark(f"what {name} gave is too long for what is left of the context: the model is told")
        error = '{"error": "the result is too long for what is left of the context"}'
        results[index] = {**results[index], "content": error}
    return results


def _room(chat: Chat) -> int:
    """Tokens that a prompt may have, so that a reply has room."""
    return chat.context_limit - min(_REPLY, chat.context_limit // 4)


def _surely_fits(chat: Chat, message: dict[str, Any], room: int) -> bool:
    """By a bound that needs no picture to be read again: a token is a byte of text or more."""
    session = chat.session
    if not session.all_cached:
        return False
    parts = message["content"] if isinstance(message["content"], list) else []
    media = sum(_MEDIUM.get(part["type"], 0) for part in parts)
    texts = (text_of(message), session.system or "")
    return session.cached_tokens + media + sum(len(t.encode()) for t in texts) + 64 <= room


def _forget_oldest(chat: Chat, message: dict[str, Any], room: int, *, summarise: bool) -> bool:
    """Raises, or gives False, with messages changed: whoever sends puts them back."""
    session = chat.session
    head = session.messages[:1] if session.system is not None else []
    turns = turns_of(session.messages)
    session.messages = list(head)
    # A long message leaves less to turns that stay, but never nothing if they fit.
    goal = max(_KEPT * room, min(room, session.prompt_tokens([message]) + _KEPT * room / 2))
    gone: list[list[Any]] = []
    while turns:
        gone.append(turns.pop(0))
        session.messages = [*head, *(m for turn in turns for m in turn)]
        if session.prompt_tokens([message]) <= goal:
            break
    if session.prompt_tokens([message]) > room:
        remark("the message is too long even without the earlier turns: shorten it")
        return False
    if summarise:
        chat.instruct(summary=_summary(chat, head, gone))
        if session.prompt_tokens([message]) > room:
            remark("with the summary there is no room for the message: shorten it")
            return False
    remark(f"{_turns(len(gone))} {'has' if len(gone) == 1 else 'have'} gone")
    return True


def _summary(chat: Chat, head: list[Any], turns: list[list[Any]]) -> str:
    """Of the turns that the model can read at once; that others go without one is said."""
    from gemma4_mlx.generation.stream import generate

    session, room = chat.session, _room(chat)
    asking = {"role": "user", "content": _SUMMARISE}

    def asked(first: int) -> list[Any]:
        return [*head, *(m for turn in turns[first:] for m in turn), asking]

    # They fill the context nearly, so the oldest of them may have to go unread.
    unread = 0
    while unread < len(turns) and session.processor.prompt_tokens(asked(unread)) > room:
        unread += 1
    if unread == len(turns):
        remark("no summary: even the last of these turns is too long to be read with the question")
        return chat.summary
    if unread:
        remark(f"the summary leaves out {_turns(unread)}, for which the context has no room")
    status("summing up the oldest turns")
    return generate(
        session.model, session.processor, asked(unread), max_tokens=_REPLY, temperature=0
    ).strip()


def _turns(count: int) -> str:
    return "the oldest turn" if count == 1 else f"the {count} oldest turns"
