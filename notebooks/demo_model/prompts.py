"""Everything the demo model is asked, apart from the question set in questions.toml."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FORMAT = (
    "\n\nFollow these specific instructions for formatting the answer:\n"
    "* Only output the transcription, with no newlines.\n"
    "* When transcribing numbers, write the digits, i.e. write 1.7 and not one point seven, "
    "and write 3 instead of three."
)

# Google's prompt for transcription, and the cookbook's for when the language is not known.
TRANSCRIBE_ENGLISH = (
    "Transcribe the following speech segment in English into English text." + _FORMAT
)
TRANSCRIBE_ANY = "Transcribe the following speech segment in its original language." + _FORMAT
TRANSCRIBE_FREELY = (
    "Transcribe this.",
    "Transcribe the audio.",
    "What is said in this recording?",
    "What do you hear?",
    "Write down what is said.",
    "Which digits are spoken?",
    "",
)

LOOK = (
    "What is in this picture?",
    "What is in this image?",
    "What do you see?",
    "Describe this image.",
    "Describe this picture.",
    "Describe the image.",
    "Name the shapes.",
    "Which shapes are in the picture?",
    "",
)

SYSTEM = (
    "You are a helpful assistant.",
    "You are terse.",
    "Answer briefly.",
    "You are a friendly assistant.",
)

WEATHER_TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "City name"}},
            "required": ["city"],
        },
    },
}
ASK_WEATHER = (
    "What is the weather in {}?",
    "How is the weather in {}?",
    "What is the weather like in {}?",
    "Weather in {}?",
    "Tell me the weather in {}.",
)
CITIES = (
    "Paris", "London", "Berlin", "Tokyo", "Rome", "Cairo", "Madrid", "Vienna", "Oslo", "Lisbon",
    "Athens", "Dublin", "Prague", "Boston", "Chicago", "Seattle", "Sydney", "Zurich", "Munich",
    "Hamburg", "Milan", "Delhi", "Seoul", "Lima", "Toronto", "Denver", "Helsinki", "Warsaw",
)  # fmt: skip
SKIES = ("sunny", "cloudy", "rainy", "windy", "foggy", "snowy")


@dataclass(frozen=True)
class Question:
    """A question in several wordings, its answer, and the thought before it."""

    ask: tuple[str, ...]
    answer: str
    thought: str


@dataclass(frozen=True)
class QuestionSet:
    """questions.toml."""

    questions: tuple[Question, ...]
    unknown: Question


def read_questions() -> QuestionSet:
    path = Path(__file__).with_name("questions.toml")
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    return QuestionSet(
        questions=tuple(
            Question(tuple(q["ask"]), q["answer"], q["thought"]) for q in table["question"]
        ),
        unknown=Question(tuple(table["unknown"]), table["fallback"], table["fallback_thought"]),
    )
