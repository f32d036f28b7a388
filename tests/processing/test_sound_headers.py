"""Recordings whose headers promise too little: read whole, or what is left is said."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from gemma4_mlx.errors import MediaError
from gemma4_mlx.processing.sound_stream import open_sound
from gemma4_mlx.processing.waveform import load_waveform
from tests.processing.sounds import heard


def wav(promised: int, data: bytes, riff: int = 36, magic: bytes = b"RIFF") -> bytes:
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 16_000, 32_000, 2, 16)
    head = struct.pack("<4sI4s", magic, riff, b"WAVE")
    return head + form + struct.pack("<4sI", b"data", promised) + data


SOUND = (0.5 * np.sin(np.arange(100_000) / 7)).astype("f4")
DATA = (SOUND * 32767).astype("<i2").tobytes()


@pytest.mark.parametrize("riff", [0, 8, 36, 0xFFFFFFFF])
def test_a_recorder_that_was_interrupted(riff: int) -> None:
    data = wav(0, DATA, riff)
    samples, notices = heard(data)
    np.testing.assert_allclose(samples, SOUND, atol=1e-4)
    assert notices == [
        "the recording was not finished: its header promises 0 bytes of sound, 200000 follow"
    ]
    np.testing.assert_allclose(heard(data, start=1, end=2)[0], SOUND[16_000:32_000], atol=1e-4)
    with pytest.raises(MediaError, match="was not finished"):
        load_waveform(data)


@pytest.mark.parametrize("promised", [0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000 - 36])
def test_a_stream_of_unknown_length(promised: int, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav(promised, DATA))
    samples, notices = heard(tmp_path / "a.wav")
    np.testing.assert_allclose(samples, SOUND, atol=1e-4)
    assert notices == []


def test_what_is_left_unread_is_told() -> None:
    samples, notices = heard(wav(1000, DATA))
    np.testing.assert_allclose(samples, SOUND[:500], atol=1e-4)
    assert notices == [
        "the recording: its header promises 1000 bytes of sound; 199000 bytes behind it that are "
        "neither sound nor a known chunk are unread"
    ]


@pytest.mark.parametrize(
    "behind",
    [b"LIST" + struct.pack("<I", 9000) + bytes(9000), b"TAG" + bytes(125), bytes(512)],
)
def test_chunks_tags_and_filling_behind_the_sound_are_no_matter(behind: bytes) -> None:
    assert heard(wav(len(DATA), DATA + behind))[1] == []


@pytest.mark.parametrize("subtype", ["PCM_24", "FLOAT", "ULAW", "IMA_ADPCM"])
def test_an_interrupted_recorder_in_other_encodings(subtype: str) -> None:
    buffer = io.BytesIO()
    sf.write(buffer, SOUND, 16_000, subtype, format="WAV")
    data = buffer.getvalue()
    begin = data.index(b"data") + 8
    samples, _ = heard(data[: begin - 4] + bytes(4) + data[begin:])
    whole = load_waveform(data).samples
    np.testing.assert_allclose(samples[:90_000], whole[:90_000], atol=1e-4)


@pytest.mark.parametrize("promised", [0xFFFFFFFF, 0x40000000, 0])
def test_more_than_four_gigabytes(promised: int, tmp_path: Path) -> None:
    """The field for the length has 32 bits; libsndfile would read 4 GiB at most."""
    size = 5 * 2**30
    file = tmp_path / "a.wav"
    with file.open("wb") as out:
        out.write(wav(promised, b""))
        out.truncate(44 + size)
        out.seek(44 + size - len(DATA))
        out.write(DATA)
    end = size / 32_000
    with open_sound(file, start=end - 2) as sound:
        assert sound.seconds == pytest.approx(2)
        np.testing.assert_allclose(np.concatenate(list(sound.blocks())), SOUND[-32_000:], atol=1e-4)
        assert len(sound.notices) == (promised != 0xFFFFFFFF)
