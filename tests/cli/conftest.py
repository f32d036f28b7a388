"""The command line in this process, with a tiny model that says what it is told."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest
import soundfile

from gemma4_cli.__main__ import main
from gemma4_mlx import loading
from gemma4_mlx.generation import session, stream
from tests.generation.tiny_model import Script, tiny_model
from tests.generation.tiny_tokenizer import tiny_tokenizer
from tests.speech.scripted import hear, noise

TOKENIZER = tiny_tokenizer()


class Keyboard(io.StringIO):
    """Stands for a terminal's input."""

    def isatty(self) -> bool:
        return True


@dataclass
class Result:
    status: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where chats are kept, instead of the developer's own folder."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "gemma4"


@pytest.fixture
def gemma4(capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Runs ``gemma4`` with the arguments given."""

    def run(*arguments: object) -> Result:
        capsys.readouterr()
        status = main([str(argument) for argument in arguments])
        return Result(status, *capsys.readouterr())

    return run


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every model is the tiny one; names of those asked for ("31b" is the one without audio)."""
    names: list[str] = []

    monkeypatch.setattr(loading, "find_checkpoint", lambda name: name)

    def load(name: str, *_rest: Any) -> Any:
        names.append(name)
        return tiny_model("31b" if name == "31b" else "e2b", TOKENIZER)

    monkeypatch.setattr(loading, "load", load)
    return names


@pytest.fixture
def says(monkeypatch: pytest.MonkeyPatch, loaded: list[str]) -> Callable[..., None]:
    """The replies to come, one a turn or window."""

    def script(*replies: str) -> None:
        waiting = iter(replies)

        def make(*_args: Any) -> Callable[[mx.array], mx.array]:
            scripts: list[Script] = []  # a sampler that is never asked uses up no reply

            def sample(logits: mx.array) -> mx.array:
                if not scripts:
                    scripts.append(Script(TOKENIZER, next(waiting)))
                return scripts[0](logits)

            return sample

        monkeypatch.setattr(stream, "make_sampler", make)
        monkeypatch.setattr(session, "make_sampler", make)
        hear(monkeypatch, TOKENIZER, waiting)

    return script


@pytest.fixture
def recording(tmp_path: Path) -> Callable[..., Path]:
    """A wav file of noise, which passes for speech, with a pause every 20 seconds."""

    def write(name: str = "memo.wav", seconds: float = 1.0, rate: int = 16_000) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        samples = noise(seconds, rate)
        for pause in range(19, int(seconds), 20):
            samples[pause * rate : (pause + 1) * rate] = 0
        soundfile.write(path, samples, rate)
        return path

    return write


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The ChatSessions that were made."""
    made: list[Any] = []

    class Noted(session.ChatSession):
        def __init__(self, *args: Any, **settings: Any):
            super().__init__(*args, **settings)
            made.append(self)

    monkeypatch.setattr(session, "ChatSession", Noted)
    return made
