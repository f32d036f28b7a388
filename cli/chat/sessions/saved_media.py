"""The media of a session file: by path and hash, or kept in a folder beside it.

A picture, recording or video that came from a file stays there; the session names its path and the
SHA-256 of its content, and it is read again only if that is still its content. What has no file
(the microphone, the clipboard, a link), or whose file has changed by the time of saving, is kept in
``SESSION.json.media/`` as kept_media says.
"""

import hashlib
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any, BinaryIO

from gemma4_cli.chat.sessions.kept_media import NAME, kept_name, read_kept, write_kept
from gemma4_cli.chat.sessions.private_files import leftovers, private_folder, write_private
from gemma4_mlx.errors import Gemma4Error, InputError

Part = dict[str, Any]

SUFFIX = ".media"

_NAMES = {"image": "picture", "audio": "recording", "video": "video"}
_CHANGED = "the file has changed"


class _Lost(Exception):
    """Why a medium cannot be had again."""


def media_folder(file: Path) -> Path:
    """Where the media are that a session or an export keeps."""
    return file.with_name(file.name + SUFFIX)


def part_name(part: Mapping[str, Any]) -> str:
    """What to call a medium: its name, else that of its file, else its kind."""
    path = part.get("file", {}).get("path") or _path(part) or ""
    return str(part.get("name") or Path(path).name or _NAMES[part["type"]])


class Keeper:
    """Puts the media of one conversation away; those to be kept wait for ``write``."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._waiting: dict[str, Callable[[BinaryIO], object]] = {}

    def put(self, part: Part, where: str) -> Part:
        """What the session says of a part. InputError for a form that cannot be saved."""
        kind = part.get("type")
        if kind not in _NAMES:
            return part
        told = {key: item for key, item in part.items() if key not in (kind, "path", "url")}
        path = _path(part)
        if path is not None and "file" not in told:
            try:
                told["file"] = {"path": os.path.abspath(path), "sha256": _file_sha256(Path(path))}
            except OSError:
                return _stand_in(part, "the file has gone")
        if "file" in told and _is_unchanged(told["file"]):
            return told
        value = part.get(kind)
        name = kept_name(kind, value)
        if name is not None:
            told["kept"] = name
            self._waiting[name] = partial(write_kept, kind, value)
        elif "file" not in told:  # else reading tells what has become of the file
            raise InputError(
                f"{where} holds its {kind} as a {type(value).__name__}, which cannot be "
                "saved; expected a path, a picture, or mono float32 samples"
            )
        return told

    def write(self) -> None:
        """Write what is not in the folder yet. Raises OSError."""
        if self._waiting:
            if self.folder.is_symlink():
                raise InputError(f"{self.folder} is a link; expected a folder: take the link away")
            private_folder(self.folder)
        for name, write in self._waiting.items():
            if not (self.folder / name).exists():
                write_private(self.folder / name, write)

    def tidy(self) -> None:
        """Take away what was kept for an earlier state of the conversation."""
        with suppress(OSError):  # what stays is taken away the next time
            remove_media(self.folder, but=self._waiting)


class Finder:
    """Finds the media of one conversation again, each content once however often it is shown.

    What cannot be had becomes a text that says so, and ``notices`` get a line about it.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.notices: list[str] = []
        self._found: dict[tuple[str, ...], Any] = {}

    def find(self, told: Part, where: str) -> Part:
        """The part as it was when the session was written."""
        kind = told["type"]
        if kind not in _NAMES:
            return told
        if "kept" in told:
            file, sha256 = self.folder / told["kept"], ""
            read = partial(_read_kept, kind)
        else:
            file, sha256 = Path(told["file"]["path"]), told["file"]["sha256"]
            read = partial(_read_file, kind, sha256)
        key = (kind, str(file), sha256)
        if key not in self._found:
            try:
                self._found[key] = _or_lost(read, file)
            except _Lost as lost:
                self.notices.append(
                    f"{where}: {lost}, and the conversation goes on without it: {_shown(file)}"
                )
                return _stand_in(told, str(lost))
        part = {name: item for name, item in told.items() if name != "kept"}
        return {**part, kind: self._found[key]}


def remove_media(folder: Path, but: Mapping[str, Any] | None = None) -> None:
    """Take kept media away, and the folder when nothing is left in it. Raises OSError."""
    if not folder.is_dir() or folder.is_symlink():
        return
    for file in list(folder.iterdir()):
        if NAME.fullmatch(file.name) and file.name not in (but or ()):
            file.unlink(missing_ok=True)
    for file in leftovers(folder):
        file.unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()


def _path(part: Mapping[str, Any]) -> str | None:
    """The path that a part gives instead of the medium itself."""
    kind = part["type"]
    value = next((part[key] for key in (kind, "path", "url") if part.get(key) is not None), None)
    return os.fspath(value) if isinstance(value, str | Path) else None


def _stand_in(part: Part, reason: str) -> Part:
    return {"type": "text", "text": f"[{_NAMES[part['type']]} {_shown(part_name(part))}: {reason}]"}


def _shown(text: str | Path) -> str:
    """A name from a file that people edit, harmless on a terminal and in a prompt."""
    return "".join(sign if sign.isprintable() else "?" for sign in str(text))[:200]


# --- files that media came from ------------------------------------------------------------------


def _is_unchanged(file: Mapping[str, str]) -> bool:
    try:
        return _file_sha256(Path(file["path"])) == file["sha256"]
    except OSError:
        return False


def _file_sha256(path: Path) -> str:
    """Of a file's content; read anew only when the file has been touched."""
    if not path.is_file():  # a pipe or a device might never end
        raise FileNotFoundError(path)
    found = path.stat()
    return _content_sha256(path, found.st_ino, found.st_size, found.st_mtime_ns)


@cache
def _content_sha256(path: Path, *_state: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _or_lost(read: Callable[[Path], Any], file: Path) -> Any:
    try:
        if not file.exists():
            raise _Lost("the file has gone")
        if not file.is_file():
            raise _Lost("it is no file")
        return read(file)
    except OSError as error:
        raise _Lost(f"the file cannot be read ({error.strerror or error})") from None
    except Gemma4Error as error:
        raise _Lost(f"the file cannot be read ({_shown(str(error))})") from None


def _read_file(kind: str, sha256: str, file: Path) -> Any:
    if _file_sha256(file) != sha256:
        raise _Lost(_CHANGED)
    if kind == "image":
        from gemma4_mlx.processing.images import load_image

        return load_image(file, [])
    if kind == "audio":
        from gemma4_mlx.processing.waveform import load_waveform

        return load_waveform(file).samples
    return str(file)  # its frames are chosen when the prompt is made


def _read_kept(kind: str, file: Path) -> Any:
    value = read_kept(kind, file)
    if value is None:
        raise _Lost(_CHANGED)
    return value
