"""A conversation and everything that belongs to it: what the commands change and the loop reads."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gemma4_cli import options
from gemma4_cli.attachments import Part

if TYPE_CHECKING:
    from gemma4_cli.chat.line.line_editor import LineEditor
    from gemma4_cli.tools.runner import ToolRunner
    from gemma4_mlx.generation.session import ChatSession
    from gemma4_mlx.generation.stats import Stats

Thoughts = Literal["show", "fold"]
Message = dict[str, Any]

# What /set changes, and how its values are read.
SETTINGS: dict[str, type] = {
    "temperature": float,
    "top_p": float,
    "top_k": int,
    "seed": int,
    "max_tokens": int,
}


SUMMARY_HEADING = "What was said earlier in this conversation:"


@dataclass
class Chat:
    """``waiting`` are the media that go with the next message; ``settings`` those of /set.

    ``turns`` holds the figures of every reply, ``file`` where the conversation is kept. The
    session's system message is ``system``, the user's, and below it ``summary``, of turns that had
    to go.
    """

    name: str
    session: "ChatSession"
    editor: "LineEditor"
    ple: options.PlePlacement = "auto"
    kv_bits: int | None = None
    budget: int | None = None
    settings: dict[str, float | None] = field(default_factory=dict)
    thoughts: Thoughts = "show"
    voice: bool = False
    tools: "ToolRunner | None" = None
    waiting: list[Part] = field(default_factory=list)
    turns: list["Stats"] = field(default_factory=list)
    file: Path | None = None
    draft: str = ""  # stands in the line when the user is asked next
    warned_of_context: bool = False
    system: str = ""
    summary: str = ""

    def attach(self, kind: str | None, source: str | Path) -> str:
        """Let a file or link go with the next message; the line that says what it is."""
        from gemma4_cli.chat.media.attached import attach

        part, line = attach(kind, source, self.session.processor, self.budget)
        self.waiting.append(part)
        return line

    def instruct(self, *, system: str | None = None, summary: str | None = None) -> None:
        """Change what stands in the system message; None leaves it as it is."""
        self.system = self.system if system is None else system
        self.summary = self.summary if summary is None else summary
        told = f"{SUMMARY_HEADING} {self.summary}" if self.summary else ""
        self.session.system = "\n\n".join(filter(None, (self.system, told))) or None

    def check_hears(self) -> None:
        """InputError when this model cannot hear what is spoken."""
        from gemma4_mlx.errors import InputError

        if self.session.model.config.audio is None:
            raise InputError(f"{self.name} has no audio tower, so it cannot hear: E2B and E4B do")

    def change_settings(self, **changes: float | None) -> None:
        """Take over settings; InputError for one out of range, and then none is taken."""
        from gemma4_mlx.generation.stream import check_lengths

        wanted = {**self.settings, **changes}
        most: Any = wanted.get("max_tokens")
        check_lengths(most, self.session.prefill_step_size)
        sampling: Any = {key: wanted.get(key) for key in ("temperature", "top_p", "top_k", "seed")}
        self.session.sample_with(**sampling)
        self.session.max_tokens = most
        self.settings = wanted

    @property
    def context_limit(self) -> int:
        return self.session.model.config.text.max_position_embeddings


def turns_of(messages: Sequence[Any]) -> list[list[Any]]:
    """The messages after a system message, cut before every user message."""
    turns: list[list[Any]] = []
    for message in messages:
        if message["role"] in ("system", "developer"):
            continue
        if message["role"] == "user" or not turns:
            turns.append([])
        turns[-1].append(message)
    return turns


def text_of(message: Any) -> str:
    """The text of a message, without its media."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content if part.get("type") == "text")
