"""A file of any length looked through as if it were in memory, one window of it at a time.

Unlike a mapped file it never counts as more than the window, however much of it is looked at.
"""

import os
from typing import BinaryIO

_WINDOW = 2**18


class WindowedFile:
    """Slices, ``find`` of one byte and ``len`` as bytes have them."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = file.seek(0, os.SEEK_END)
        self._begin, self._window = 0, b""

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice) -> bytes:
        begin, end, _ = part.indices(self._size)
        if begin < self._begin or end > self._begin + len(self._window):
            self._load(begin, end - begin)
        return self._window[begin - self._begin : max(begin, end) - self._begin]

    def find(self, byte: bytes, at: int) -> int:
        """The next place of a single byte from ``at`` on, -1 where there is none."""
        while at < self._size:
            if not self._begin <= at < self._begin + len(self._window):
                self._load(at, 1)
                if not self._window:  # the file became shorter meanwhile
                    return -1
            found = self._window.find(byte, at - self._begin)
            if found >= 0:
                return self._begin + found
            at = self._begin + len(self._window)
        return -1

    def _load(self, begin: int, least: int) -> None:
        self._file.seek(begin)
        self._begin, self._window = begin, self._file.read(max(least, _WINDOW))
