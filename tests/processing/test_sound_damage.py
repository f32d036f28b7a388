"""Recordings that are damaged, clipped or none: read as far as they go, and said."""

import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from gemma4_mlx.errors import MediaError
from gemma4_mlx.processing import audio_containers
from gemma4_mlx.processing.sound_stream import open_sound
from gemma4_mlx.processing.waveform import load_waveform
from tests.processing.sounds import equals_the_whole, heard, speech
from tests.processing.test_audio_containers import m4a, without_av
from tests.processing.test_waveform import tone, written

__all__ = ["without_av"]  # a fixture


# --- cut short and damaged ------------------------------------------------------------------------


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


# --- samples --------------------------------------------------------------------------------------


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


# --- what is no recording -------------------------------------------------------------------------


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
