"""Gemma 4 in MLX: load a checkpoint, talk to it, transcribe with it.

The public names, fetched when first used: importing this package loads neither mlx nor numpy,
so that a command line can print its help at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from gemma4_mlx.errors import (
    CheckpointError,
    Gemma4Error,
    HubError,
    InputError,
    MediaError,
    MemoryLimitError,
    MissingExtraError,
)

if TYPE_CHECKING:
    from gemma4_mlx.generation.batch import Reply, batch_generate
    from gemma4_mlx.generation.session import ChatSession
    from gemma4_mlx.generation.stats import Stats
    from gemma4_mlx.generation.stream import Chunk, generate, stream_generate
    from gemma4_mlx.loading import load, load_model
    from gemma4_mlx.speech.transcribe import transcribe, transcribe_segments
    from gemma4_mlx.speech.transcript import Segment, Transcript

__version__ = "0.1.0"

__all__ = [
    "ChatSession",
    "CheckpointError",
    "Chunk",
    "Gemma4Error",
    "HubError",
    "InputError",
    "MediaError",
    "MemoryLimitError",
    "MissingExtraError",
    "Reply",
    "Segment",
    "Stats",
    "Transcript",
    "__version__",
    "batch_generate",
    "generate",
    "load",
    "load_model",
    "stream_generate",
    "transcribe",
    "transcribe_segments",
]

_HOME = {
    "ChatSession": "gemma4_mlx.generation.session",
    "Chunk": "gemma4_mlx.generation.stream",
    "Reply": "gemma4_mlx.generation.batch",
    "Segment": "gemma4_mlx.speech.transcript",
    "Stats": "gemma4_mlx.generation.stats",
    "Transcript": "gemma4_mlx.speech.transcript",
    "batch_generate": "gemma4_mlx.generation.batch",
    "generate": "gemma4_mlx.generation.stream",
    "load": "gemma4_mlx.loading",
    "load_model": "gemma4_mlx.loading",
    "stream_generate": "gemma4_mlx.generation.stream",
    "transcribe": "gemma4_mlx.speech.transcribe",
    "transcribe_segments": "gemma4_mlx.speech.transcribe",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value  # the next look-up does not come here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
