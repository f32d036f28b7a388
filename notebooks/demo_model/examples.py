"""An example: a conversation, what the model should say next, and the sounds and pictures in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from scenes import Scene
from speech import Utterance

Message = dict[str, Any]


@dataclass(frozen=True)
class Example:
    """A conversation up to the model's turn, and that turn as the model should write it."""

    messages: list[Message]
    answer: str
    audio: tuple[Utterance, ...] = ()
    images: tuple[Scene, ...] = ()
    thinking: bool = False
    tools: tuple[dict[str, Any], ...] = ()
    end: str = "<turn|>"


def user_turn(kind: str, text: str) -> list[dict[str, str]]:
    """Content of a user turn: audio, image or nothing before the text."""
    media = [] if kind == "text" else [{"type": kind}]
    return [*media, {"type": "text", "text": text}] if text else media


def is_transcription(example: Example) -> bool:
    """Whether the answer is what is heard in the one recording, word for word."""
    return (
        len(example.audio) == 1 and not example.images and example.answer == example.audio[0].text
    )


def is_naming(example: Example) -> bool:
    """Whether the answer names what the one picture shows."""
    return (
        len(example.images) == 1 and not example.audio and example.answer == example.images[0].text
    )
