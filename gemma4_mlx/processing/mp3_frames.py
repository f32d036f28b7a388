"""How long an MP3 really is: its frames counted, and a header that says so.

An MP3 is a row of frames without a table of contents. Some begin with an info frame (``Xing`` or
``Info``) that counts them; where there is none, or two files were joined, libsndfile guesses from
the first frames and then stops there: of a recording with a loud beginning and a variable bit
rate it reads a seventh, without a word. Counting the frames shows the guess, and an info frame
put in front makes it read everything. Where all the bytes that an info frame promises are there,
its frames are as well, and need no counting.

Source: the MPEG audio header (ISO 11172-3, 13818-3) and the Xing header as LAME writes it.
"""

import struct
from dataclasses import dataclass

from gemma4_mlx.processing.windowed_files import WindowedFile

Bytes = bytes | WindowedFile

_MPEG1, _MPEG2, _MPEG25 = 3, 2, 0
_LAYER3, _LAYER2, _LAYER1 = 1, 2, 3

# kbit/s by bit rate index 1–14.
_RATES_MPEG1 = {
    _LAYER1: range(32, 449, 32),
    _LAYER2: (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    _LAYER3: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
}
_RATES_MPEG2_LAYER1 = (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256)
_RATES_MPEG2 = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_HERTZ = {
    _MPEG1: (44100, 48000, 32000),
    _MPEG2: (22050, 24000, 16000),
    _MPEG25: (11025, 12000, 8000),
}

_TAGS_BEHIND = 4096  # bytes that may follow the sound


@dataclass(frozen=True)
class FrameHeader:
    """Four bytes: which kind of frame, how many bytes long, how many samples in it."""

    version: int
    layer: int
    mono: bool
    size: int
    samples: int

    @property
    def side_info(self) -> int:
        """Bytes between the header and where an info frame has its name."""
        if self.version == _MPEG1:
            return 17 if self.mono else 32
        return 9 if self.mono else 17


@dataclass(frozen=True)
class Mp3Length:
    """What counting found: where the first frame begins, samples, and if an info frame counts."""

    first: int
    frames: int
    samples_per_frame: int
    has_info: bool

    @property
    def samples(self) -> int:
        """Samples per channel in all frames but the info frame."""
        return self.frames * self.samples_per_frame


def frame_header(data: Bytes, at: int) -> FrameHeader | None:
    """The header at a place, or None when none is there."""
    if at + 4 > len(data):
        return None
    word = int.from_bytes(data[at : at + 4], "big")
    version, layer = word >> 19 & 3, word >> 17 & 3
    bit_rate, hertz, padding = word >> 12 & 15, word >> 10 & 3, word >> 9 & 1
    if word >> 21 != 0x7FF or version == 1 or layer == 0 or bit_rate in (0, 15) or hertz == 3:
        return None
    if version == _MPEG1:
        kilobits = _RATES_MPEG1[layer][bit_rate - 1]
    else:
        kilobits = (_RATES_MPEG2_LAYER1 if layer == _LAYER1 else _RATES_MPEG2)[bit_rate - 1]
    if layer == _LAYER1:
        samples, slot = 384, 4
    else:
        samples, slot = (576 if layer == _LAYER3 and version != _MPEG1 else 1152), 1
    size = (samples // 8 * kilobits * 1000 // _HERTZ[version][hertz] // slot + padding) * slot
    return FrameHeader(version, layer, (word >> 6 & 3) == 3, size, samples)


def count_frames(data: Bytes) -> Mp3Length | None:
    """Count the frames of an MP3 file; None when it has none."""
    at = _next_frame(data, _after_tag(data))
    if at is None:
        return None
    start, header = at, frame_header(data, at)
    assert header is not None
    has_info = _has_name(data, at, header) or data[at + 36 : at + 40] == b"VBRI"
    frames = -1 if has_info else 0
    while at is not None:
        found = frame_header(data, at)
        if found is None:
            at = _next_frame(data, at)  # past tags and damage within the file
        else:
            frames += 1
            at += found.size
    return Mp3Length(start, frames, header.samples, has_info)


def is_as_long_as_promised(data: Bytes) -> bool:
    """Whether an info frame counts the file's bytes, and as many are there."""
    at = _next_frame(data, _after_tag(data))
    header = None if at is None else frame_header(data, at)
    if at is None or header is None or not _has_name(data, at, header):
        return False
    name = at + 4 + header.side_info
    flags, _, size = struct.unpack(">III", data[name + 4 : name + 16].ljust(12, b"\0"))
    counts_both = flags & 3 == 3  # the frames, and the bytes of the file from this frame on
    return counts_both and abs(len(data) - at - size) <= _TAGS_BEHIND


def with_info_frame(data: bytes, length: Mp3Length) -> bytes:
    """The same sound behind an info frame that counts its frames.

    ``data`` is the file, or as much of its beginning as one likes, the first header at least.
    """
    start = bytearray(data[length.first : length.first + 4])
    start[1] |= 1  # no checksum follows
    start[2] = start[2] & 0x0D | 0x80  # a bit rate that leaves room, no padding
    header = frame_header(bytes(start), 0)
    assert header is not None
    frames = length.frames + length.has_info  # an old info frame plays as a frame of silence
    info = bytes(start) + bytes(header.side_info) + struct.pack(">4sII", b"Xing", 1, frames)
    return info.ljust(header.size, b"\0") + data[length.first :]


def _has_name(data: Bytes, at: int, header: FrameHeader) -> bool:
    name = at + 4 + header.side_info
    return data[name : name + 4] in (b"Xing", b"Info")


def _after_tag(data: Bytes) -> int:
    """Where the sound may begin: behind an ID3v2 tag, whose size is in 7-bit bytes."""
    if data[:3] != b"ID3" or len(data) < 10:
        return 0
    size = 0
    for byte in data[6:10]:
        size = size << 7 | byte & 0x7F
    return 10 + size


def _next_frame(data: Bytes, at: int) -> int | None:
    """The next place where a frame begins and another follows it."""
    while (at := data.find(b"\xff", at)) >= 0:
        header = frame_header(data, at)
        if header is not None:
            follower = frame_header(data, at + header.size)
            if follower is not None and follower.version == header.version:
                return at
        at += 1
    return None
