"""Whether a recording is all there: decoders read one that was cut off without a word.

Most containers say in their header how many bytes follow; Ogg marks its last page instead.

Source: Wave64 (Sony), AIFF 1.3 and CAF (Apple), Sun AU, Ogg (RFC 3533); for WAV ``wav_headers``.
"""

import os
from collections.abc import Callable, Mapping
from typing import BinaryIO

from gemma4_mlx.processing.wav_headers import read_wav_header

# (bytes promised, bytes there), or None where the length was not known when the file was begun.
_Sizes = tuple[int, int] | None

_OGG_PAGE = 27 + 255 + 255 * 255  # the longest there can be: header, segment table, segments
_LAST_PAGE = 4


def what_is_missing(stream: BinaryIO) -> str | None:
    """How much less of a recording is there than its container promises; None when it is whole.

    ``stream`` stands at its beginning. Formats that do not tell are taken as whole.
    """
    head = stream.read(4)
    stream.seek(0)
    if head == b"OggS":
        return None if _ends_with_the_last_page(stream) else "its last page is missing"
    sizes = _SIZES[head](stream) if head in _SIZES else None
    if sizes is None or sizes[1] >= sizes[0]:
        return None
    return f"its header promises {sizes[0]} bytes of sound, it holds {sizes[1]}"


def _ends_with_the_last_page(stream: BinaryIO) -> bool:
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, size - 2 * _OGG_PAGE))
    tail = stream.read()
    page = tail[tail.rfind(b"OggS\0") :]
    if len(page) < 27:
        return False
    table = page[27 : 27 + page[26]]
    return bool(page[5] & _LAST_PAGE) and len(page) >= 27 + page[26] + sum(table)


def _wav(stream: BinaryIO) -> _Sizes:
    header = read_wav_header(stream)
    if header is None or header.promised is None:
        return None
    return header.promised, header.left


def _wave64(stream: BinaryIO) -> _Sizes:
    promised = int.from_bytes(stream.read(24)[16:], "little", signed=True)
    return (promised, _left(stream) + 24) if promised > 0 else None


def _aiff(stream: BinaryIO) -> _Sizes:
    return int.from_bytes(stream.read(8)[4:], "big"), _left(stream)


def _au(stream: BinaryIO) -> _Sizes:
    head = stream.read(12)
    begin, promised = int.from_bytes(head[4:8], "big"), int.from_bytes(head[8:], "big")
    stream.seek(begin)
    return (promised, max(0, _left(stream))) if promised != 0xFFFFFFFF else None


def _caf(stream: BinaryIO) -> _Sizes:
    stream.seek(8)
    while len(chunk := stream.read(12)) == 12:
        promised = int.from_bytes(chunk[4:], "big", signed=True)
        if chunk[:4] == b"data":
            return (promised, _left(stream)) if promised >= 0 else None
        stream.seek(promised, os.SEEK_CUR)
    return None


def _left(stream: BinaryIO) -> int:
    """Bytes from here to the end."""
    here = stream.tell()
    return stream.seek(0, os.SEEK_END) - here


_SIZES: Mapping[bytes, Callable[[BinaryIO], _Sizes]] = {
    b"RIFF": _wav,
    b"RF64": _wav,
    b"riff": _wave64,
    b"FORM": _aiff,
    b".snd": _au,
    b"caff": _caf,
}
