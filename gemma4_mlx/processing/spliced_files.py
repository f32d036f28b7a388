"""A file whose beginning is another: headers are mended without the sound being copied."""

import io
import os
from typing import Any, BinaryIO


class SplicedFile(io.RawIOBase):
    """``head``, and behind it the bytes of ``file`` from ``skip`` on, as one file to read."""

    def __init__(self, head: bytes, file: BinaryIO, skip: int) -> None:
        super().__init__()
        self._head, self._file = head, file
        self._moved = len(head) - skip  # by how much bytes of the file lie further on here
        self._at = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place, counted from the beginning, from here or from the end."""
        if whence == os.SEEK_END:
            offset += self._file.seek(0, os.SEEK_END) + self._moved
        elif whence == os.SEEK_CUR:
            offset += self._at
        self._at = max(0, offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer`` up to the end of the head, or from the file."""
        if self._at < len(self._head):
            piece = self._head[self._at : self._at + len(buffer)]
        else:
            self._file.seek(self._at - self._moved)
            piece = self._file.read(len(buffer))
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)
