"""Which recordings are meant: files, folders of them, and what is piped in."""

import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gemma4_cli.console import complain, notice
from gemma4_mlx.errors import MediaError
from gemma4_mlx.processing.audio_containers import CONTAINER_SUFFIXES
from gemma4_mlx.processing.sound_files import SOUND_SUFFIXES


@dataclass(frozen=True)
class Recording:
    """One recording. ``folder`` is its place within the folder that was named, else empty."""

    path: Path
    name: str
    folder: Path = Path()

    @property
    def stem(self) -> str:
        return Path(self.name).stem


@dataclass(frozen=True)
class Found:
    """What was found, and how many of what was named was not."""

    recordings: list[Recording]
    missing: list[str]


@contextmanager
def find_recordings(given: Sequence[str]) -> Iterator[Found]:
    """The recordings that are meant; what is not there is complained of.

    Within it, what was piped in lies in a file of its own.
    """
    found = Found([], [])
    with tempfile.TemporaryDirectory(prefix="gemma4-") as scratch:
        for name in dict.fromkeys(given):
            try:
                found.recordings.extend(_find(name, Path(scratch)))
            except MediaError as error:
                complain(str(error))
                found.missing.append(name)
        yield found


def _find(given: str, scratch: Path) -> list[Recording]:
    if given == "-":
        return [_piped(scratch)]
    path = Path(given)
    if path.is_dir():
        return _within(path)
    if not path.exists():
        raise MediaError(f"{given} does not exist: check the path of the recording")
    if not path.is_file():
        raise MediaError(f"{given} is not a file, expected a recording")
    return [Recording(path, path.name)]


def _within(folder: Path) -> list[Recording]:
    """All recordings of a folder and those below, told by their suffixes."""
    known = SOUND_SUFFIXES | CONTAINER_SUFFIXES
    files = sorted(
        file
        for file in folder.rglob("*")
        if file.is_file() and not _is_hidden(file.relative_to(folder))
    )
    chosen = [file for file in files if file.suffix.lower() in known]
    if not chosen:
        raise MediaError(f"{folder} has no recordings in it (wav, flac, mp3, m4a, mp4 …)")
    if len(chosen) < len(files):
        others = len(files) - len(chosen)
        notice(f"{folder}: {len(chosen)} recordings; other files left out: {others}")
    return [Recording(file, file.name, file.parent.relative_to(folder)) for file in chosen]


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _piped(scratch: Path) -> Recording:
    """What comes on stdin, kept on disk: some formats are read from their end."""
    path = scratch / "stdin"
    with path.open("wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    if not path.stat().st_size:
        raise MediaError("nothing came on stdin, expected a recording")
    return Recording(path, "stdin")
