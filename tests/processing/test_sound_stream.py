"""Recordings read in blocks: the samples of load_waveform, bounded memory, and what is lenient."""

import io
import re
import struct
import subprocess
import sys
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
import soxr

from gemma4_mlx.errors import InputError, MediaError
from gemma4_mlx.processing import audio_containers, sound_files
from gemma4_mlx.processing.sound_stream import open_sound
from gemma4_mlx.processing.waveform import load_waveform
from gemma4_mlx.processing.windowed_files import WindowedFile
from tests.processing.test_audio_containers import container, m4a, without_av
from tests.processing.test_mp3_frames import loud_then_silent, mp3, without_info
from tests.processing.test_waveform import FORMATS, RATES, tone, written

__all__ = ["without_av"]  # a fixture


def heard(source: Any, rate: int = 16_000, **part: Any) -> tuple[np.ndarray, list[str]]:
    """All samples and notices of a stream."""
    with open_sound(source, rate, **part) as sound:
        blocks = list(sound.blocks())
        assert all(block.dtype == np.float32 and block.ndim == 1 for block in blocks)
        assert all(0 < len(block) <= 4 * rate for block in blocks)
        assert len(sound.notices) == len(set(sound.notices))
        return np.concatenate(blocks), sound.notices


def equals_the_whole(source: Any, rate: int = 16_000, **part: Any) -> None:
    whole = load_waveform(source, rate, **part)
    samples, notices = heard(source, rate, **part)
    assert len(samples) == len(whole.samples)
    np.testing.assert_allclose(samples, whole.samples, atol=1e-4)
    assert notices == whole.notices


def speech(seconds: float, rate: int = 16_000, channels: int = 1) -> np.ndarray:
    """Tones and noise, another in each channel, that end in the middle of a block."""
    time = np.arange(int(seconds * rate))[:, None] / rate
    tones = 0.2 * np.sin(2 * np.pi * 200 * (1 + np.arange(channels)) * time * (1 + time / 9))
    return (tones + np.random.uniform(-0.1, 0.1, tones.shape)).astype("f4")


# --- the samples of load_waveform ----------------------------------------------------------------


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


# --- memory --------------------------------------------------------------------------------------

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


# --- cut short and damaged -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "subtype"),
    [("WAV", "PCM_16"), ("W64", "PCM_16"), ("AIFF", "PCM_16"), ("AU", "PCM_16"), ("CAF", "PCM_16"),
     ("RF64", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"),
     ("MP3", "MPEG_LAYER_III")],
)  # fmt: skip
def test_cut_short(form: str, subtype: str, tmp_path: Path) -> None:
    file = written(tmp_path, speech(10), "a.x", format=form, subtype=subtype)
    whole, data = load_waveform(file).samples, file.read_bytes()
    file.write_bytes(data[: len(data) * 6 // 10])
    with pytest.raises(MediaError):
        load_waveform(file)
    samples, notices = heard(file)
    assert 4.5 < len(samples) / 16_000 < 7.5
    np.testing.assert_allclose(samples[:64_000], whole[:64_000], atol=1e-4)
    assert len(notices) == 1
    assert re.search(r"a\.x is (cut short|damaged)", notices[0])
    samples, notices = heard(file, start=2.0, end=3.0)
    np.testing.assert_allclose(samples, whole[32_000:48_000], atol=1e-4)


def test_a_notice_says_what_was_promised_and_found(tmp_path: Path) -> None:
    file = written(tmp_path, speech(10))
    file.write_bytes(file.read_bytes()[:96_044])
    samples, notices = heard(file)
    assert len(samples) == 48_000
    assert notices == [
        f"{file} is cut short: its header promises 320000 bytes of sound, it holds 96000"
    ]
    with pytest.raises(MediaError, match=r"no sound in it from 5 s on: it is 3\.0 s long"):
        open_sound(file, start=5)


@pytest.mark.parametrize("seconds", [1, 4])
def test_a_container_cut_short(seconds: int, tmp_path: Path) -> None:
    av = pytest.importorskip("av", reason="PyAV is not installed (the media extra)")
    file = tmp_path / "a.m4a"
    with av.open(str(file), "w", options={"movflags": "faststart"}) as out:
        stream = out.add_stream("aac", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(speech(10).T.copy(), format="fltp", layout="mono")
        frame.rate = 16_000
        for chunk in (frame, None):
            out.mux(stream.encode(chunk))
    whole, data = load_waveform(file).samples, file.read_bytes()
    file.write_bytes(data[: len(data) - len(data) * seconds // 10])
    with pytest.raises(MediaError):
        load_waveform(file)
    samples, notices = heard(file)
    assert len(samples) / 16_000 == pytest.approx(10 - seconds, abs=1)
    np.testing.assert_allclose(samples[:64_000], whole[:64_000], atol=1e-4)
    assert len(notices) == 1
    assert re.search(r"promises 10\.\d+ s of sound, \d\.\d+ s found|is damaged at", notices[0])


def test_damage_in_the_middle(tmp_path: Path) -> None:
    file = written(tmp_path, speech(10), "a.flac")
    data = bytearray(file.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 9000] = bytes(9000)
    file.write_bytes(data)
    samples, notices = heard(file)
    assert len(notices) == 1
    told = re.fullmatch(r".*a\.flac is damaged at (.*) s: nothing after it can .*", notices[0])
    assert told is not None
    assert float(told[1]) == len(samples) / 16_000 == pytest.approx(5, abs=1)
    with pytest.raises(MediaError, match=r"a\.flac is damaged at"):
        load_waveform(file)


def test_damaged_from_the_beginning(tmp_path: Path) -> None:
    file = written(tmp_path, speech(10), "a.flac")
    data = bytearray(file.read_bytes())
    data[200:] = bytes(len(data) - 200)
    file.write_bytes(data)
    with pytest.raises(MediaError, match=r"a\.flac is damaged: nothing from 0 s on can be read"):
        heard(file)


def test_a_part_that_lies_behind_what_is_there(tmp_path: Path) -> None:
    for name, said in (
        ("a.flac", "is damaged: nothing from 8 s on can be read"),
        ("a.mp3", r"has no sound in it from 8 s on: it is [45]\.\d s long"),
    ):
        file = written(tmp_path, speech(10), name)
        data = file.read_bytes()
        file.write_bytes(data[: len(data) // 2])
        with pytest.raises(MediaError, match=said):
            heard(file, start=8.0)


# --- headers that promise too little -------------------------------------------------------------


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


# --- samples -------------------------------------------------------------------------------------


def test_broken_samples_are_silence(tmp_path: Path) -> None:
    sound = speech(5)[:, 0]
    sound[40_000:40_010] = np.nan
    sound[60_000] = np.inf
    sound[60_001] = 1e30
    samples, notices = heard(written(tmp_path, sound, subtype="FLOAT"))
    sound[~(np.abs(sound) < 2)] = 0
    np.testing.assert_array_equal(samples, sound)
    assert len(notices) == 1
    assert "12 samples are NaN or infinite, the first at 2.5 s" in notices[0]
    sound[40_000] = np.nan
    assert "the first at 2.5 s" in heard(sound, start=2.0)[1][0]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_only_broken_samples(value: float) -> None:
    with pytest.raises(MediaError, match="samples that are all NaN or infinite"):
        heard(np.full(40_000, value, dtype="f4"))


def test_beyond_full_scale() -> None:
    sound = 0.5 * np.sin(np.arange(80_000) / 7)
    sound[40_000:] *= 8
    samples, notices = heard(sound)
    np.testing.assert_allclose(samples[:32_000], sound[:32_000], atol=1e-4)
    np.testing.assert_allclose(samples[48_000:], sound[48_000:] / 4, atol=1e-4)
    assert np.abs(samples).max() <= 1
    assert notices == ["the recording: peaks at 4 times full scale, turned down to it"]
    equals_the_whole(4 * tone())


def test_clipped() -> None:
    sound = np.random.normal(0, 0.3, 48_000)
    assert heard(np.clip(sound, -0.9, 0.9))[1] == []
    assert heard(np.clip(sound, -1, 1))[1] == []  # a loud moment now and then
    notices = heard(np.clip(4 * sound, -1, 1))[1]
    assert len(notices) == 1
    assert "% of the sound lies at full scale, it is clipped: words may be wrong" in notices[0]
    silent = np.zeros(480_000)
    silent[:48_000] = np.clip(2 * sound, -1, 1)
    assert len(heard(silent)[1]) == 1, "silence makes a clipped recording no better"


def test_silence_is_a_recording() -> None:
    samples, notices = heard(np.zeros(20_000))
    assert len(samples) == 20_000
    assert not samples.any()
    assert notices == []


# --- what is no recording ------------------------------------------------------------------------


def test_what_is_no_recording_is_told_as_load_waveform_tells_it(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.wav").write_text("this is text, not a recording")
    (tmp_path / "text.mp3").write_text("this is no recording. " * 100)
    (tmp_path / "header.flac").write_bytes(b"fLaC" + bytes(8))
    written(tmp_path, np.zeros(0), "none.wav")
    sources: list[Any] = [tmp_path / name for name in ("empty.wav", "text.wav", "text.mp3")]
    sources += [tmp_path / "header.flac", tmp_path / "none.wav", tmp_path / "missing.wav", tmp_path]
    sources += [np.zeros(0), np.zeros((2, 2, 2)), (np.zeros(4), 0), None, np.array(["a"]), b""]
    for source in sources:
        with pytest.raises(MediaError) as expected:
            load_waveform(source)
        with pytest.raises(MediaError) as found:
            open_sound(source)
        assert str(found.value) == str(expected.value)


@pytest.mark.usefixtures("without_av")
def test_afconvert_writes_into_a_folder_that_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        sf.write(command[6], speech(3, 8_000), 8_000, "FLOAT", format="WAV")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(audio_containers.sys, "platform", "darwin")
    monkeypatch.setattr(audio_containers.shutil, "which", lambda tool: f"/usr/bin/{tool}")
    monkeypatch.setattr(audio_containers.subprocess, "run", run)
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    with open_sound(m4a(tmp_path)) as sound:
        assert sound.name.endswith("a.m4a")
        assert sound.seconds == 3.0
        assert sum(map(len, sound.blocks())) == 48_000
        assert list(folder.iterdir())
    assert not list(folder.iterdir())
