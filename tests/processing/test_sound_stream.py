"""Recordings read in blocks: the samples of load_waveform, in bounded memory."""

import io
import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soxr

from gemma4_mlx.errors import InputError, MediaError
from gemma4_mlx.processing import sound_files
from gemma4_mlx.processing.sound_stream import open_sound
from gemma4_mlx.processing.windowed_files import WindowedFile
from tests.processing.sounds import equals_the_whole, heard, speech
from tests.processing.test_audio_containers import container
from tests.processing.test_mp3_frames import loud_then_silent, mp3, without_info
from tests.processing.test_waveform import FORMATS, RATES, written

# --- the samples of load_waveform -----------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
def test_every_format(form: str, tmp_path: Path) -> None:
    rate = RATES.get(form, 16_000)
    file = written(tmp_path, speech(2.7, rate), "a.x", samplerate=rate, format=form)
    equals_the_whole(file)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_bit_depths(subtype: str, tmp_path: Path) -> None:
    equals_the_whole(written(tmp_path, speech(1.3), subtype=subtype))


@pytest.mark.parametrize("rate", [8_000, 11_025, 12_345, 44_100, 48_000, 192_000])
@pytest.mark.parametrize("channels", [1, 2, 8])
def test_rates_and_channels(rate: int, channels: int, tmp_path: Path) -> None:
    sound = speech(3.3, rate, channels)
    file = written(tmp_path, sound, samplerate=rate, subtype="PCM_24")
    equals_the_whole(file)
    assert len(heard(file)[0]) == -(-len(sound) * 16_000 // rate)


@pytest.mark.parametrize("rate", [8_000, 12_345, 44_100, 192_000])
def test_resampling_in_pieces_equals_resampling_at_once(rate: int) -> None:
    sound = speech(3.3, rate)[:, 0]
    at_once = soxr.resample(sound, rate, 16_000, quality="HQ")
    np.testing.assert_allclose(heard((sound, rate))[0][: len(at_once)], at_once, atol=1e-6)


@pytest.mark.parametrize("seconds", [0.00005, 0.001, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_lengths_on_the_edges_of_blocks(seconds: float, rate: int) -> None:
    equals_the_whole((speech(max(seconds, 1 / rate), rate), rate))


@pytest.mark.parametrize(
    ("name", "codec", "rate"),
    [("a.m4a", "aac", 44_100), ("a.mp4", "aac", 16_000), ("a.webm", "libopus", 48_000),
     ("a.mkv", "pcm_s16le", 16_000), ("a.aac", "aac", 32_000)],
)  # fmt: skip
def test_containers(name: str, codec: str, rate: int, tmp_path: Path) -> None:
    file = container(tmp_path, name, codec, rate)
    for source in (file, file.read_bytes()):
        equals_the_whole(source)
        equals_the_whole(source, start=0.3, end=0.8)
    with open_sound(file) as sound:
        known = sound.seconds
    # Matroska has one length for all its tracks, AAC alone has none.
    unknown = name in ("a.aac", "a.webm", "a.mkv")
    assert known is None if unknown else known == pytest.approx(1.0, abs=0.12)


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
@pytest.mark.parametrize("by", ["path", "bytes"])
def test_mp3(mode: str, by: str, tmp_path: Path) -> None:
    data = mp3(loud_then_silent(16_000, 2), mode=mode)
    for content in (
        data,
        without_info(data),
        data + data,
        b"ID3\x04\0\0\0\0\0\x08" + bytes(8) + data,
    ):
        file = tmp_path / "a.mp3"
        file.write_bytes(content)
        source = file if by == "path" else content
        equals_the_whole(source)
        equals_the_whole(source, start=1.1, end=2.3)
        with open_sound(source) as sound:
            assert sound.seconds == pytest.approx(len(heard(source)[0]) / 16_000, abs=0.2)


def test_an_mp3_whose_info_frame_is_right_is_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sound_files, "count_frames", lambda _: pytest.fail("counted"))
    assert len(heard(mp3(speech(3.0)))[0]) == 48_000
    with pytest.raises(pytest.fail.Exception, match="counted"):
        open_sound(without_info(mp3(speech(3.0))))


def test_arrays() -> None:
    equals_the_whole(speech(2.5))
    equals_the_whole((speech(2.5, 8_000, 2), 8_000))
    equals_the_whole((speech(2.5)[:, 0] * 32767).astype("i2"))
    equals_the_whole((speech(9.5), 16_000), start=5.1, end=7.2)
    equals_the_whole(speech(0.5), 8_000)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3"])
def test_a_part(name: str, tmp_path: Path) -> None:
    file = written(tmp_path, speech(4.0), name)
    parts: list[dict[str, Any]] = [{"start": 0.7, "end": 1.9}, {"start": 2.5}, {"end": 1.25}]
    for part in (*parts, {"end": 99.0}):
        equals_the_whole(file, **part)
    with open_sound(file, start=1.0, end=3.5) as sound:
        assert sound.seconds == 2.5
    with open_sound(file, start=1.0, end=99) as sound:
        assert sound.seconds == 3.0


def test_parts_that_are_empty(tmp_path: Path) -> None:
    file = written(tmp_path, speech(1.5))
    parts: list[dict[str, Any]] = [{"start": -1.0}, {"start": 2.0, "end": 1.0}]
    for part in (*parts, {"start": 0.1, "end": 0.10001}):
        with pytest.raises(InputError, match="of a recording is empty"):
            open_sound(file, **part)
    with pytest.raises(MediaError, match=r"no sound in it from 1\.5 s on: it is 1\.5 s long"):
        open_sound(file, start=1.5)
    aac = container(tmp_path, "a.aac", "aac")
    with pytest.raises(MediaError, match=r"no sound in it from 7 s on: it is 1\.\d s long"):
        heard(aac, start=7)


def test_blocks_come_once_in_blocks_of_a_second() -> None:
    sound = open_sound((speech(4.5, 8_000), 8_000))
    lengths = [len(block) for block in sound.blocks()]
    assert sum(lengths) == 72_000
    assert len(lengths) >= 4
    assert max(lengths) <= 4 * 16_000
    assert list(sound.blocks()) == []
    with open_sound(speech(9)) as sound:
        next(sound.blocks())
    assert list(sound.blocks()) == [], "it was closed"


def test_opening_reads_only_the_beginning(tmp_path: Path) -> None:
    """The decoder's error of the middle is not met before it is reached."""
    data = bytearray(written(tmp_path, speech(60), "a.flac").read_bytes())
    data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
    (tmp_path / "a.flac").write_bytes(data)
    with open_sound(tmp_path / "a.flac") as sound:
        assert len(next(sound.blocks())) == 16_000
        assert sound.notices == []


# --- memory ---------------------------------------------------------------------------------------


READ = """
import resource, sys
from gemma4_mlx.processing.sound_stream import open_sound
with open_sound(sys.argv[1]) as sound:
    count = sum(map(len, sound.blocks()))
print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_recording(tmp_path: Path) -> None:
    memory = []
    for minutes in (2, 40):
        file = written(tmp_path, np.zeros(0), samplerate=24_000, subtype="PCM_16")
        size = minutes * 60 * 48_000
        with file.open("r+b") as out:
            head = out.read(44)
            out.seek(40)
            out.write(struct.pack("<I", size))
            out.truncate(len(head) + size)
        command = [sys.executable, "-c", READ, str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        count, peak = map(int, done.stdout.split())
        assert count == minutes * 60 * 16_000
        memory.append(peak)
    assert memory[1] < 1.25 * memory[0], "40 minutes are 154 MB as samples"


@pytest.mark.parametrize("has_info", [True, False])
def test_an_mp3_is_not_read_into_memory(has_info: bool, tmp_path: Path) -> None:
    frames = without_info(mp3(np.random.uniform(-0.5, 0.5, 160_000), mode="CONSTANT"))
    file = tmp_path / "a.mp3"
    file.write_bytes((mp3(speech(1.0)) if has_info else b"") + frames * 150)
    tracemalloc.start()
    with open_sound(file) as sound:
        next(sound.blocks())
        peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sound.seconds == pytest.approx(1500, rel=0.02)
    assert peak < file.stat().st_size / 4


def test_a_file_is_looked_through_as_bytes_are() -> None:
    data = np.random.bytes(1_000_000).replace(b"\xff", b"\xfe") + b"\xff" + bytes(9)
    file = WindowedFile(io.BytesIO(data))
    assert len(file) == len(data)
    for begin in (0, 999_990, 262_140, 262_143, 5, 999_999_999):
        assert file[begin : begin + 8] == data[begin : begin + 8]
        assert file[begin:begin] == b""
        assert file.find(b"\xff", begin) == data.find(b"\xff", begin)
    assert file[10:600_000] == data[10:600_000]
    assert file.find(b"\xfd", 0) == data.find(b"\xfd")
