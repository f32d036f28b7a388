"""MP3 files whose length libsndfile guesses wrongly are read whole."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from gemma4_mlx.errors import MediaError
from gemma4_mlx.processing.mp3_frames import count_frames, frame_header, with_info_frame
from gemma4_mlx.processing.waveform import load_waveform, waveform_seconds

SECONDS = 6


def mp3(samples: np.ndarray, rate: int = 16_000, mode: str = "VARIABLE") -> bytes:
    buffer = io.BytesIO()
    sf.write(buffer, samples, rate, "MPEG_LAYER_III", format="MP3", bitrate_mode=mode)
    return buffer.getvalue()


def without_info(data: bytes) -> bytes:
    """The file without the frame that counts the others."""
    length = count_frames(data)
    assert length is not None and length.has_info
    header = frame_header(data, length.first)
    assert header is not None
    return data[length.first + header.size :]


def loud_then_silent(rate: int, channels: int = 1) -> np.ndarray:
    noise = np.random.uniform(-0.5, 0.5, (SECONDS * rate, channels))
    noise[rate // 2 :] = 0
    return noise


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000])
@pytest.mark.parametrize("part", [slice(None), slice(None, None, -1)])
def test_without_an_info_frame(rate: int, channels: int, part: slice, tmp_path: Path) -> None:
    file = tmp_path / "a.mp3"
    data = mp3(loud_then_silent(rate, channels)[part], rate)
    file.write_bytes(without_info(data))
    with sf.SoundFile(file) as guessed:
        assert abs(guessed.frames / rate - SECONDS) > 0.5, "libsndfile has learned to count"
    assert waveform_seconds(file) == pytest.approx(SECONDS, abs=0.4)
    assert load_waveform(file).seconds == pytest.approx(SECONDS, abs=0.4)


def test_with_an_info_frame() -> None:
    data = mp3(loud_then_silent(16_000))
    length = count_frames(data)
    assert length is not None
    assert length.has_info
    assert length.samples / 16_000 == pytest.approx(SECONDS, abs=0.2)
    assert load_waveform(data).seconds == SECONDS


def test_the_sound_is_the_same() -> None:
    data = mp3(loud_then_silent(16_000)[::-1])
    length = count_frames(without_info(data))
    assert length is not None
    again, _ = sf.read(io.BytesIO(with_info_frame(without_info(data), length)))
    whole, _ = sf.read(io.BytesIO(data))
    # LAME's info frame also tells the delay, which is cut off there and stays here.
    delay = np.argmax(np.correlate(again[-20_000:], whole[-15_000:-5_000])) - 5_000
    delay += len(again) - len(whole)
    assert 0 <= delay <= 2304
    np.testing.assert_allclose(again[delay:][: len(whole) - 2304], whole[:-2304], atol=1e-3)


def test_joined_files(tmp_path: Path) -> None:
    """The info frame of the first counts the first alone."""
    data = mp3(loud_then_silent(16_000))
    assert load_waveform(data + data).seconds == pytest.approx(2 * SECONDS, abs=0.4)


def test_tags_before_and_after() -> None:
    data = mp3(loud_then_silent(16_000))
    tag = b"ID3\x04\0\0\0\0\x01\x00" + b"\xff\xfb\x90\0" * 32  # frames in a tag are none
    assert count_frames(tag + data + b"TAG" + bytes(125)) == count_frames(tag + data)
    assert load_waveform(tag + data + b"TAG" + bytes(125)).seconds == SECONDS


def test_cut_short(tmp_path: Path) -> None:
    data = mp3(np.random.uniform(-0.5, 0.5, SECONDS * 16_000))
    with pytest.raises(MediaError, match="is cut short: its header promises 96000 samples"):
        load_waveform(data[: len(data) // 2])


def test_no_frames() -> None:
    assert count_frames(b"") is None
    assert count_frames(b"\xff" * 5000) is None
    assert count_frames(np.random.bytes(400).replace(b"\xff", b"\xfe")) is None
