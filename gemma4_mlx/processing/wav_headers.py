"""Where the sound of a WAV lies, and a header for one whose own lies about its length.

A recorder fills the length in when it stops: one that was interrupted leaves 0, a pipe the largest
number there is, and beyond 4 GiB the field of 32 bits overflows, where RF64 has one of 64.
libsndfile believes a 0, and reads 4 GiB at most of anything that is not RF64.

Source: RIFF WAVE (Microsoft, IBM, 1991), RF64 (EBU Tech 3306).
"""

import os
import struct
from dataclasses import dataclass
from typing import BinaryIO

_LARGEST = 0xFFFFFFFF
# The largest numbers, signed or not, mark a stream whose length was not known when it began: -1,
# 0x7FFFFFFF, and what sox and mplayer write.
_ENDLESS = 0x7FFF0000
_PADDING = 4096  # bytes behind the sound that may be filling, or a tag in no chunk


@dataclass(frozen=True)
class WavHeader:
    """What stands before the sound: the chunks that describe it, where and how long it is.

    ``promised`` is None where the length was not known, ``left`` counts the bytes that are there
    from ``begin`` on, ``foreign`` those behind the promised sound when they are no chunks.
    """

    form: bytes
    begin: int
    promised: int | None
    left: int
    foreign: int

    @property
    def overlooks_sound(self) -> bool:
        """Whether all that follows is sound though libsndfile would not read it all."""
        never_filled_in = self.promised == 0 and self.foreign > 0
        overflown = self.left > _LARGEST and (self.promised is None or self.foreign > _LARGEST)
        return never_filled_in or overflown

    def mended(self) -> bytes:
        """A header to put in place of all before ``begin``: everything that follows is sound."""
        data = struct.pack("<4sI", b"data", _LARGEST)
        if self.left <= _LARGEST:
            return struct.pack("<4sI4s", b"RIFF", _LARGEST, b"WAVE") + self.form + data
        riff = self.left + len(self.form) + 48
        sizes = struct.pack("<4sIQQQI", b"ds64", 28, riff, self.left, 0, 0)
        return struct.pack("<4sI4s", b"RF64", _LARGEST, b"WAVE") + sizes + self.form + data


def read_wav_header(stream: BinaryIO) -> WavHeader | None:
    """The header of a WAV or RF64 that stands at its beginning; None when it has no sound."""
    if stream.read(12)[8:] != b"WAVE":
        return None
    long: int | None = None  # of RF64, whose chunk sizes are too short for it
    form = b""
    while len(chunk := stream.read(8)) == 8:
        promised = int.from_bytes(chunk[4:], "little")
        begin = stream.tell()
        if chunk[:4] == b"data":
            if long is not None and promised == _LARGEST:
                promised = long
            left = stream.seek(0, os.SEEK_END) - begin
            known = promised == long or promised % 2**31 < _ENDLESS
            foreign = _foreign(stream, begin + promised + promised % 2) if known else 0
            return WavHeader(form, begin, promised if known else None, left, foreign)
        if chunk[:4] == b"ds64":
            long = int.from_bytes(stream.read(16)[8:], "little")
        if chunk[:4] in (b"fmt ", b"fact"):
            form += chunk + stream.read(min(promised + promised % 2, _PADDING))
        stream.seek(begin + promised + promised % 2)
    return None


def _foreign(stream: BinaryIO, at: int) -> int:
    """How many bytes lie from here on when they are neither chunks nor filling."""
    rest = stream.seek(0, os.SEEK_END) - at
    if rest <= 8:
        return 0
    stream.seek(at)
    name, size = struct.unpack("<4sI", stream.read(8))
    a_chunk = all(0x20 <= letter < 0x7F for letter in name) and size <= rest - 8
    return 0 if a_chunk or rest <= _PADDING else rest
