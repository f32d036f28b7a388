"""What a model is asked to show that it works: a text, a picture, a recording.

The picture is drawn here. The recording, ``digits.flac``, is of a person who says seven, two, five
(Free Spoken Digit Dataset, CC BY-SA 4.0).
"""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gemma4_mlx.speech.prompts import speech_prompt

if TYPE_CHECKING:
    from PIL.Image import Image

# The smallest budget of a picture, in tokens: seeing it sharply is not the point.
PICTURE_TOKENS = 70


@dataclass(frozen=True)
class Prompt:
    """One conversation to try; ``tower`` is what a model must have for it ("vision", "audio")."""

    name: str
    tower: str | None
    messages: list[dict[str, Any]]


def prompts() -> tuple[Prompt, ...]:
    """A text, a picture, a recording."""
    recording = Path(str(files("gemma4_mlx.checks"))) / "digits.flac"
    return (
        Prompt("text", None, [_user("What is the capital of France?")]),
        Prompt(
            "picture",
            "vision",
            [_user("What is in this picture?", {"type": "image", "image": _picture()})],
        ),
        Prompt(
            "recording",
            "audio",
            [_user(speech_prompt(), {"type": "audio", "audio": str(recording)})],
        ),
    )


def _user(text: str, *media: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": [*media, {"type": "text", "text": text}]}


def _picture() -> "Image":
    """A red circle and a blue square on white."""
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (192, 144), "white")
    draw = ImageDraw.Draw(picture)
    draw.ellipse((20, 38, 84, 102), fill="red")
    draw.rectangle((112, 42, 172, 102), fill="blue")
    return picture
