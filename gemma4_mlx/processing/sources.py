"""Where media come from: a path, a file: or data: address, bytes, or an array.

Nothing is fetched over the network: an http address is refused with a word on what to do.
"""

import base64
import binascii
import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote_to_bytes, urlsplit
from urllib.request import url2pathname

import numpy as np

from gemma4_mlx.errors import MediaError


@dataclass(frozen=True)
class Source:
    """A readable source: its name for messages, and a path or the bytes themselves."""

    name: str
    path: Path | None = None
    content: bytes | None = None

    def open(self) -> BinaryIO:
        """A new binary file object at the start."""
        if self.path is None:
            return io.BytesIO(self.content or b"")
        return self.path.open("rb")

    def head(self, count: int = 64) -> bytes:
        """The first bytes, by which formats are told apart."""
        with self.open() as file:
            return file.read(count)

    @property
    def suffix(self) -> str:
        """The file name's extension in lower case, with its dot."""
        return self.path.suffix.lower() if self.path else ""


def find_source(value: str | os.PathLike[str] | bytes, kind: str) -> Source:
    """Resolve what a message gives for a ``kind`` ("picture", "recording", "video").

    Raises MediaError for a missing or empty file, a directory, and an address that is not local.
    """
    if isinstance(value, bytes):
        return _not_empty(Source(f"the {kind}", content=value), kind)
    text = os.fspath(value)
    scheme = text.partition(":")[0].lower() if ":" in text else ""
    if scheme in ("http", "https", "ftp"):
        raise MediaError(f"{text} is not downloaded: save the {kind} and give its path")
    if scheme == "data":
        return _not_empty(Source(f"the {kind} in a data: address", content=_inline(text)), kind)
    try:
        path = Path(url2pathname(urlsplit(text).path) if scheme == "file" else text).expanduser()
        if path.is_dir():
            raise MediaError(f"{path} is a folder; give the path of one {kind}")
        if not path.exists():
            raise MediaError(f"{path} does not exist; give the path of a {kind}")
        return _not_empty(Source(str(path), path=path), kind)
    except (OSError, ValueError) as error:
        if isinstance(error, MediaError):
            raise
        raise MediaError(f"{text[:200]!r} cannot be opened as a {kind}: {error}") from None


def as_array(value: Any, name: str) -> np.ndarray[Any, Any]:
    """Anything NumPy makes an array of. MediaError for the rest, such as rows unlike in length."""
    try:
        return np.asarray(value)
    except Exception as error:  # of NumPy, or of a foreign object that is asked for its array
        reason = " ".join(str(error).split())
        raise MediaError(
            f"{name} given as a {type(value).__name__} is no array of numbers: {reason}"
        ) from None


def _not_empty(source: Source, kind: str) -> Source:
    if not source.head(1):
        raise MediaError(f"{source.name} is empty; expected a {kind}")
    return source


def _inline(text: str) -> bytes:
    header, comma, body = text.partition(",")
    try:
        if not comma:
            raise ValueError("it has no comma")
        raw = unquote_to_bytes(body)
        return base64.b64decode(raw, validate=True) if header.endswith(";base64") else raw
    except (ValueError, binascii.Error) as error:
        raise MediaError(f"the data: address {text[:40]!r}… is damaged: {error}") from None
