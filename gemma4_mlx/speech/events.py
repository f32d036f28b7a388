"""What happens while recordings are transcribed, each with the number of its recording."""

from dataclasses import dataclass

from gemma4_mlx.speech.transcript import Segment, Transcript


@dataclass(frozen=True)
class Opened:
    """A recording is being read; ``seconds`` is its length where its header tells."""

    number: int
    seconds: float | None


@dataclass(frozen=True)
class Said:
    """A segment is known; its text may be empty."""

    number: int
    segment: Segment


@dataclass(frozen=True)
class Finished:
    """All of a recording has been heard."""

    number: int
    transcript: Transcript


@dataclass(frozen=True)
class Failed:
    """A recording cannot be read, or not to its end."""

    number: int
    error: Exception


Event = Opened | Said | Finished | Failed
