"""Which recordings are meant: files, folders of them, and what is piped in."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from gemma4_cli.console import complain, notice, plain, status
from gemma4_mlx.errors import MediaError
from gemma4_mlx.processing.audio_containers import CONTAINER_SUFFIXES
from gemma4_mlx.processing.sound_files import SOUND_SUFFIXES


@dataclass(frozen=True)
class Recording:
    """One recording. ``folder`` is its place within the folder that was named, else empty.

    ``called`` is what it is known by where that is not its path.
    """

    path: Path
    name: str
    folder: Path = Path()
    called: str | None = None

    @property
    def stem(self) -> str:
        return Path(self.name).stem

    @property
    def text(self) -> str:
        """What it is called in files: its path, with signs for bytes that are no text."""
        return self.called or _text(self.path)

    @property
    def shown(self) -> str:
        """What it is called on the screen."""
        return self.called or shown(self.path)


def shown(path: Path) -> str:
    """A path on one line of the screen, whatever it is made of."""
    text = _text(path)
    return text if text.isprintable() else plain(text)


def _text(path: Path) -> str:
    return os.fsencode(path).decode("utf-8", "replace")


@dataclass
class Found:
    """What was found, and what of that which was named was not."""

    recordings: list[Recording] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        """How many there would be."""
        return len(self.recordings) + len(self.missing)

    def miss(self, error: Exception, name: str) -> None:
        """Complain of what is not there."""
        complain(of_file(error, name))
        self.missing.append(plain(name))

    def add(self, recordings: Sequence[Recording]) -> None:
        """More of them; what was named before is not heard twice."""
        known = {recording.path.resolve() for recording in self.recordings}
        new = [recording for recording in recordings if recording.path.resolve() not in known]
        self.recordings += new
        if again := len(recordings) - len(new):
            first = next(r for r in recordings if r.path.resolve() in known).shown
            more = f" and {again - 1} more" if again > 1 else ""
            notice(f"{first}{more}: named twice, heard once")


def of_file(error: Exception, name: str) -> str:
    """What an error says, with the file that it is about."""
    message = str(error)
    if isinstance(error, OSError) and error.strerror:
        message = error.strerror
    return message if name in message else f"{name}: {message}"


@contextmanager
def find_recordings(given: Sequence[str]) -> Iterator[Found]:
    """The recordings that are meant; what is not there is complained of.

    Within it, what was piped in lies in a file of its own.
    """
    found = Found()
    with tempfile.TemporaryDirectory(prefix="gemma4-") as scratch:
        for name in given:
            try:
                found.add(_find(name, Path(scratch), found))
            except (MediaError, OSError) as error:
                found.miss(error, name)
        yield found


def _find(given: str, scratch: Path, found: Found) -> list[Recording]:
    if given == "-":
        return [_piped(scratch)]
    path = Path(given)
    if path.is_dir():
        return _within(path, found)
    if not path.exists():
        raise MediaError(f"{given} does not exist: check the path of the recording")
    if not path.is_file():
        raise MediaError(f"{given} is not a file: pipe it into `gemma4 transcribe -`")
    return [Recording(path, path.name)]


def _within(folder: Path, found: Found) -> list[Recording]:
    """All recordings of a folder and those below, told by their suffixes."""
    files = _files(folder, found)
    known = SOUND_SUFFIXES | CONTAINER_SUFFIXES
    chosen = [file for file in files if file.suffix.lower() in known]
    if not chosen:
        raise MediaError(f"{folder} has no recordings in it (wav, flac, mp3, m4a, mp4 …)")
    if len(chosen) < len(files):
        others = len(files) - len(chosen)
        notice(f"{folder}: {len(chosen)} recordings; other files left out: {others}")
    return [Recording(file, file.name, file.parent.relative_to(folder)) for file in chosen]


def _files(folder: Path, found: Found) -> list[Path]:
    """Those that are not hidden, sorted; folders that cannot be read are complained of."""
    files = []
    walk = os.walk(folder, onerror=lambda error: found.miss(error, str(error.filename)))
    for place, folders, names in walk:
        folders[:] = [name for name in folders if not name.startswith(".")]
        files += [Path(place, name) for name in names if not name.startswith(".")]
    return sorted(file for file in files if file.is_file())


def _piped(scratch: Path) -> Recording:
    """What comes on stdin, kept on disk: some formats are read from their end."""
    path = scratch / "stdin"
    if not path.exists():  # it comes once
        status("reading what is piped in")
        with path.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
    if not path.stat().st_size:
        raise MediaError("nothing came on stdin, expected a recording")
    return Recording(path, "stdin", called="stdin")
