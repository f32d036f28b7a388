"""``gemma4 chat``: a conversation in the terminal; piped input is answered once."""

import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from gemma4_cli import options
from gemma4_cli.attachments import Part, attach, attach_all, content, kinds
from gemma4_cli.console import complain, notice, notices, prefill_status, say, think
from gemma4_cli.models import open_model
from gemma4_mlx.errors import Gemma4Error, InputError

if TYPE_CHECKING:
    from gemma4_mlx.generation.session import ChatSession

_HELP = """\
/image PATH   show it a picture with the next message
/audio PATH   play it a recording
/video PATH   show it a video
/clear        forget the conversation
/help         this list
/exit         leave (so does Ctrl-D)
Ctrl-C stops a reply and keeps what has come."""

_MEDIA = {"/image": "image", "/audio": "audio", "/video": "video"}


def chat(
    model: options.Model = None,
    image: options.Image = None,
    audio: options.Audio = None,
    video: options.Video = None,
    system: options.System = None,
    enable_thinking: options.Think = False,
    max_tokens: options.MaxTokens = None,
    temperature: options.Temperature = None,
    top_p: options.TopP = None,
    top_k: options.TopK = None,
    seed: options.Seed = None,
    image_tokens: options.ImageTokens = None,
    ple: options.Ple = "auto",
    kv_bits: options.KvBits = None,
) -> None:
    """Talk with the model; media given here go with the first message.

    With piped input (echo … | gemma4 chat) it is answered once, on stdout.
    """
    parts = attach_all(image, audio, video)
    interactive = sys.stdin.isatty()
    question = "" if interactive else sys.stdin.read().strip()
    if not interactive and not question and not parts:
        raise InputError("the piped input is empty: give a question, a picture or a recording")
    name, gemma, processor = open_model(model, ple, kinds(parts))

    from gemma4_mlx.generation.session import ChatSession

    session = ChatSession(
        gemma,
        processor,
        system=system,
        enable_thinking=enable_thinking,
        max_tokens=max_tokens,
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        seed=seed,
        max_soft_tokens=image_tokens,
        kv_bits=kv_bits,
    )
    if interactive:
        say(f"{Path(name).name}: /help lists the commands, Ctrl-D leaves\n")
        _converse(session, parts)
    else:
        _answer(session, content(parts, question))


def _converse(session: "ChatSession", parts: list[Part]) -> None:
    """Read lines and answer them until the input ends. ``parts`` wait for the next message."""
    import readline  # noqa: F401  # gives input() editing and history

    while True:
        try:
            line = input(f"{_waiting(parts)}> ").strip()
        except EOFError:
            say("\n")
            return
        except KeyboardInterrupt:
            say("\n")
            raise
        if line in ("/exit", "/quit"):
            return
        try:
            if _is_command(line):
                _command(session, parts, line)
            elif line:
                message, parts = content(parts, line), []
                _answer(session, message)
        except KeyboardInterrupt:
            notice("stopped; what came is kept")
        except Gemma4Error as error:
            complain(str(error))


def _waiting(parts: list[Part]) -> str:
    """Names of the files that go with the next message, for the prompt."""
    return "".join(f"[{Path(str(part[part['type']])).name}] " for part in parts)


def _is_command(line: str) -> bool:
    """A slash and one word; a path has another slash or a dot in its first word."""
    first = line.split(maxsplit=1)[0] if line else ""
    return first.startswith("/") and first[1:].isalpha()


def _command(session: "ChatSession", parts: list[Part], line: str) -> None:
    word, _, argument = line.partition(" ")
    argument = argument.strip().strip("'\"")
    if word in _MEDIA:
        if not argument:
            raise InputError(f"{word} needs the path of a file")
        parts.append(attach(_MEDIA[word], Path(argument)))
    elif word == "/clear":
        session.clear()
        parts.clear()
        notice("the conversation is forgotten")
    elif word == "/help":
        say(_HELP + "\n")
    else:
        raise InputError(f"there is no command {word}: /help lists those there are")


def _answer(session: "ChatSession", message: str | list[Part]) -> None:
    """Print one reply as it comes."""
    thought = text = ""
    with closing(session.send(message, prefill_status)) as chunks:
        for chunk in chunks:
            notices(chunk.notices)
            if chunk.thought:
                think(chunk.thought)
            if chunk.text:
                if thought and not text:
                    think("\n\n")
                say(chunk.text)
            thought, text = thought + chunk.thought, text + chunk.text
    if text and not text.endswith("\n"):
        say("\n")
    if chunk.finish_reason == "length":
        notice(
            f"the reply was cut after {chunk.stats.generated_tokens} tokens: see --max-tokens, "
            "or /clear when the conversation fills the model's context"
        )
