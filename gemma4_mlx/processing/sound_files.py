"""Recordings that libsndfile reads: wav, flac, ogg, opus, mp3, aiff, caf and more.

In any rate, number of channels and bit depth. Of an MP3 libsndfile may guess the length wrong, and
of a WAV believe a wrong one: both are read behind a header that is right.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np

from gemma4_mlx.errors import MediaError
from gemma4_mlx.processing.mp3_frames import (
    Mp3Length,
    count_frames,
    is_as_long_as_promised,
    with_info_frame,
)
from gemma4_mlx.processing.sound_tracks import (
    Remarks,
    Track,
    block_size,
    check_rate,
    no_sound,
)
from gemma4_mlx.processing.sources import Source
from gemma4_mlx.processing.spliced_files import SplicedFile
from gemma4_mlx.processing.wav_headers import read_wav_header
from gemma4_mlx.processing.whole_recordings import what_is_missing
from gemma4_mlx.processing.windowed_files import WindowedFile

SOUND_SUFFIXES = {
    *(".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc"),
    *(".caf", ".au", ".snd", ".w64", ".rf64"),
}

# The delay of MP3 encoders and decoders and the padding of the last frame, counted or not.
_MP3_SLACK = 4 * 1152


def file_track(source: Source, remarks: Remarks, opened: ExitStack) -> Track | None:
    """The sound of a file; None when libsndfile does not know it. ``opened`` closes the file."""
    file = _open(source, remarks, opened)
    if file is None:
        return None
    if file.frames == 0:
        raise no_sound(source.name)
    check_rate(file.samplerate, source.name)
    is_mp3 = file.format == "MP3"

    def decode(first: int) -> Iterator[tuple[int, np.ndarray]]:
        # A frame of MP3 needs those before it, which libsndfile's seek forgets: read them too.
        begin = 0 if is_mp3 else first
        if begin:
            file.seek(begin)
        count = block_size(file.samplerate)
        while len(block := file.read(count, dtype="float32", always_2d=True)):
            yield begin, block
            begin += len(block)

    slack = _MP3_SLACK if is_mp3 else 0
    return Track(source.name, file.samplerate, file.channels, file.frames, decode, slack)


def _open(source: Source, remarks: Remarks, opened: ExitStack) -> Any:
    """The recording as an open ``soundfile.SoundFile``; None when libsndfile does not know it."""
    import soundfile

    with source.open() as raw:
        missing = what_is_missing(raw)
    if missing:
        remarks.damage(f"{source.name} is cut short: {missing}")
    # By a path that ends in .mp3 libmpg123 is made to search any file for frames, and to complain.
    by_content = source.path is None or source.suffix == ".mp3"
    target: Any = _mended_wav(source, remarks, opened)
    if target is None and by_content:
        target = opened.enter_context(source.open())
    elif target is None:
        target = os.fsencode(str(source.path))  # soundfile takes no text with bytes that are none
    try:
        file = opened.enter_context(soundfile.SoundFile(target))
    except soundfile.LibsndfileError as error:
        # Known by its first bytes and yet not readable: no other reader will do better.
        if source.head(4) in (b"RIFF", b"fLaC", b"OggS"):
            raise MediaError(f"{source.name} is a damaged recording: {error}") from None
        return None
    if file.format == "MP3":
        return _counted_mp3(source, file, remarks, opened)
    return file


def _mended_wav(source: Source, remarks: Remarks, opened: ExitStack) -> SplicedFile | None:
    """A WAV with a header that does not hide sound; None where its own is right."""
    with source.open() as raw:
        header = read_wav_header(raw)
    if header is None:
        return None
    if header.overlooks_sound:
        if header.promised is not None:
            remarks.damage(
                f"{source.name} was not finished: its header promises {header.promised} bytes of "
                f"sound, {header.left} follow"
            )
        return SplicedFile(header.mended(), opened.enter_context(source.open()), header.begin)
    if header.foreign:
        remarks.note(
            f"{source.name}: its header promises {header.promised} bytes of sound; "
            f"{header.foreign} bytes behind it that are neither sound nor a known chunk are unread"
        )
    return None


def _counted_mp3(source: Source, file: Any, remarks: Remarks, opened: ExitStack) -> Any:
    """The open file, or one that knows its true length where libsndfile guessed another."""
    import soundfile

    length, beginning = _measured(source)
    if length is None or abs(length.samples - file.frames) <= _MP3_SLACK:
        return file
    if length.has_info and length.samples < file.frames:
        remarks.damage(
            f"{source.name} is cut short: its header promises {file.frames} samples, "
            f"{length.samples} found"
        )
        return file
    rest = opened.enter_context(source.open())
    spliced = SplicedFile(with_info_frame(beginning, length), rest, len(beginning))
    return opened.enter_context(soundfile.SoundFile(spliced))


def _measured(source: Source) -> tuple[Mp3Length | None, bytes]:
    """What counting the frames gives, None where that needs none, and all up to the first of them.

    Counting goes through the whole file, and holds a window of it.
    """
    with source.open() as raw:
        data = WindowedFile(raw)
        length = None if is_as_long_as_promised(data) else count_frames(data)
        return length, data[: length.first + 4] if length else b""
