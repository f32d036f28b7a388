"""What can be asked for when recordings are transcribed."""

from dataclasses import dataclass

from gemma4_mlx.errors import InputError
from gemma4_mlx.generation.arguments import number, whole_number
from gemma4_mlx.speech.languages import language_name
from gemma4_mlx.speech.prompts import speech_prompt

_SHORTEST_WINDOW = 1.0  # seconds


@dataclass(frozen=True)
class Options:
    """What is asked for, of every recording alike; ``transcribe`` says what each means.

    Raises InputError, when made, for an unknown language and for numbers out of range.
    """

    language: str | None = None
    translate_to: str | None = None
    prompt: str | None = None
    start: float = 0.0
    end: float | None = None
    batch_size: int | None = None
    window: float | None = None
    vad: bool = True
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        for name in ("language", "translate_to"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, language_name(getattr(self, name)))
        for name in ("batch_size", "max_tokens"):
            if getattr(self, name) is not None:
                whole_number(name, getattr(self, name), 1)
        if self.window is not None and number("window", self.window) < _SHORTEST_WINDOW:
            raise InputError(
                f"window is {self.window:g} s, expected at least {_SHORTEST_WINDOW:g} s"
            )

    @property
    def question(self) -> str:
        """What the model is asked about each window."""
        return speech_prompt(self.language, self.translate_to, self.prompt)
