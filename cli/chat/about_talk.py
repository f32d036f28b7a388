"""Commands about what is shown and said to the model, and about how it answers."""

import shutil

from gemma4_cli.chat.speaking import speak
from gemma4_cli.chat.state import SETTINGS, Chat
from gemma4_cli.console import remark, say
from gemma4_cli.portaudio import load_sounddevice
from gemma4_mlx.errors import InputError


def image(chat: Chat, argument: str) -> None:
    """/image PATH"""
    _attach(chat, "image", argument)


def audio(chat: Chat, argument: str) -> None:
    """/audio PATH"""
    _attach(chat, "audio", argument)


def video(chat: Chat, argument: str) -> None:
    """/video PATH"""
    _attach(chat, "video", argument)


def _attach(chat: Chat, kind: str, argument: str) -> None:
    if not argument:
        raise InputError(f"/{kind} needs the path of a file")
    from gemma4_cli.chat.media.dropped import read_paths

    for source in read_paths(argument):
        remark(chat.attach(kind, source))


def paste(chat: Chat, argument: str) -> None:
    """/paste"""
    from gemma4_cli.chat.media.attached import attach_picture
    from gemma4_cli.chat.media.clipboard import picture_from_clipboard

    picture = picture_from_clipboard()
    part, line = attach_picture(picture, "clipboard", chat.session.processor, chat.budget)
    chat.waiting.append(part)
    remark(line)


def budget(chat: Chat, argument: str) -> None:
    """/budget N: of pictures attached from now on."""
    from gemma4_mlx.processing.settings import SOFT_TOKEN_BUDGETS

    allowed = ", ".join(map(str, SOFT_TOKEN_BUDGETS))
    if not argument:
        default = chat.session.processor.settings.image.max_soft_tokens
        say(f"{chat.budget or default} tokens a picture at most; choose of {allowed}\n")
        return
    if argument not in map(str, SOFT_TOKEN_BUDGETS):
        raise InputError(f"/budget got {argument!r:.40}, expected one of {allowed}")
    chat.budget = int(argument)
    remark(f"pictures from now on take at most {argument} tokens")


def mic(chat: Chat, argument: str) -> None:
    """/mic"""
    chat.check_hears()
    load_sounddevice()  # what is missing is said before anything is asked for
    remark("press Enter to talk, or just begin")
    speak(chat, enter_begins=True)


def voice(chat: Chat, argument: str) -> None:
    """/voice on|off"""
    wanted = _switch("/voice", argument, ("on", "off"))
    if wanted == "on":
        chat.check_hears()
        load_sounddevice()
    chat.voice = wanted == "on"
    remark("Enter alone begins a recording" if chat.voice else "messages are typed again")


def think(chat: Chat, argument: str) -> None:
    """/think on|off|show|hide"""
    wanted = _switch("/think", argument, ("on", "off", "show", "hide"))
    if wanted in ("on", "off"):
        chat.session.enable_thinking = wanted == "on"
        remark("it thinks before it answers" if wanted == "on" else "it answers at once")
    else:
        chat.thoughts = "show" if wanted == "show" else "fold"
        remark("thoughts are shown" if wanted == "show" else "thoughts are folded into a line")


def _switch(command: str, argument: str, choices: tuple[str, ...]) -> str:
    if argument.lower() not in choices:
        found = f"got {argument!r:.40}" if argument else "is not complete"
        raise InputError(f"{command} {found}: say {command} {'|'.join(choices)}")
    return argument.lower()


def set_(chat: Chat, argument: str) -> None:
    """/set NAME VALUE; the value "default" goes back to the model's own."""
    if not argument:
        for name in SETTINGS:
            now = chat.settings.get(name)
            say(f"{name} {'default' if now is None else now}\n")
        return
    name, _, value = argument.replace("=", " ", 1).partition(" ")
    value = value.strip()
    if name not in SETTINGS or not value:
        raise InputError(
            f"/set got {argument!r:.60}, expected NAME VALUE with a name of {', '.join(SETTINGS)} "
            "(the value default is the model's own)"
        )
    kind = SETTINGS[name]
    try:
        chosen = None if value == "default" else kind(value)
    except ValueError:
        number = "a whole number" if kind is int else "a number"
        raise InputError(f"{name} is {value!r:.40}, expected {number}, or default") from None
    chat.change_settings(**{name: chosen})
    remark(f"{name} is {'the default' if chosen is None else chosen}")


def stats(chat: Chat, argument: str) -> None:
    """/stats: one line a reply."""
    rows = [("turn", "prompt", "prefilled", "reply", "first token", "tokens/s")]
    for number, turn in enumerate(chat.turns, 1):
        rows.append((
            str(number),
            f"{turn.prompt_tokens:,}",
            f"{turn.prefilled_tokens:,}",
            f"{turn.generated_tokens:,}",
            f"{turn.time_to_first_token:.2f} s",
            f"{turn.decode_tps:.1f}",
        ))  # fmt: skip
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if sum(widths) + 2 * len(widths) <= shutil.get_terminal_size().columns:
        for row in rows:
            cells = (f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True))
            say("  ".join(cells) + "\n")
    else:  # a line for each figure
        for row in rows[1:]:
            say(f"{rows[0][0]} {row[0]}\n")
            for name, cell in zip(rows[0][1:], row[1:], strict=True):
                say(f"  {name} {cell}\n")
    used = chat.session.prompt_tokens() if chat.session.messages else 0
    say(f"context: {used:,} of {chat.context_limit:,} tokens\n")
