"""What a file is by its first bytes, whatever its name says.

Source: the signatures of the formats, as gathered in the WHATWG MIME Sniffing Standard; brands of
ISO base media files (ISO/IEC 14496-12); Matroska, MPEG-1 systems and ASF by their own headers.
"""

from pathlib import Path

from gemma4_cli.chat.media.dropped import kind_of_name

_PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*")
_RECORDINGS = (
    *(b"fLaC", b"ID3", b".snd", b"caff", b"RF64", b"riff", b"#!AMR"),
    b"OggS",  # of which few hold pictures
)
_VIDEOS = (b"\0\0\1\xba", b"\0\0\1\xb3")
_CONTAINERS = (b"\x1aE\xdf\xa3", b"\x30\x26\xb2\x75")  # Matroska and WebM, ASF
_PICTURE_BRANDS = (b"hei", b"hev", b"mif", b"msf", b"avi")
_SOUND_BRANDS = (b"M4A", b"M4B")


def kind_of_content(path: Path) -> str | None:
    """ "image", "audio" or "video" by what is in a file; None when that does not tell.

    Raises OSError when it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(16)
    if head[:4] == b"RIFF":
        return {b"WAVE": "audio", b"WEBP": "image", b"AVI ": "video"}.get(head[8:12])
    if head[:4] == b"FORM":
        return "audio" if head[8:12] in (b"AIFF", b"AIFC") else None
    if head.startswith(_PICTURES) or (head[:2] == b"BM" and head[6:10] == bytes(4)):
        return "image"
    if head.startswith(_RECORDINGS) or _begins_frame_of_sound(head):
        return "audio"
    if head.startswith(_VIDEOS):
        return "video"
    if head[4:8] == b"ftyp" and head[8:11] in _PICTURE_BRANDS:
        return "image"
    if head[4:8] == b"ftyp" and head[8:11] in _SOUND_BRANDS:
        return "audio"
    if head.startswith(_CONTAINERS) or head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free"):
        return _kind_of_tracks(path) or kind_of_name(path.name) or "video"
    return None


def _begins_frame_of_sound(head: bytes) -> bool:
    """Whether these are the eleven set bits before a frame of MP3 or AAC (ADTS)."""
    return len(head) > 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0 and head[:2] != b"\xff\xfe"


def _kind_of_tracks(path: Path) -> str | None:
    """By the tracks of a container; None without PyAV, and when it cannot be read."""
    try:
        import av
    except ImportError:
        return None
    try:
        with av.open(str(path)) as container:
            streams = container.streams
            # A song's cover is a track of pictures too.
            if any(not _is_cover(stream) for stream in streams.video):
                return "video"
            return "audio" if streams.audio else None
    except (av.FFmpegError, ValueError, OSError):
        return None


def _is_cover(stream: object) -> bool:
    disposition = getattr(stream, "disposition", None)
    return "attached_pic" in str(getattr(disposition, "name", disposition)).lower()
