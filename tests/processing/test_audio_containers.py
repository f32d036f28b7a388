"""Sound in containers, through PyAV, through a stand-in for afconvert, and through neither."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from gemma4_mlx.errors import MediaError, MissingExtraError
from gemma4_mlx.processing import audio_containers
from gemma4_mlx.processing.waveform import load_waveform, waveform_seconds

WITH_AV = "PyAV is not installed (the media extra)"


def tone(rate: int = 16_000) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)).astype("f4")


def container(
    folder: Path, name: str, codec: str, rate: int = 44_100, layout: str = "stereo", **more: Any
) -> Path:
    """One second of a tone in a container."""
    av = pytest.importorskip("av", reason=WITH_AV)
    file = folder / name
    with av.open(str(file), "w", **more) as out:
        stream = out.add_stream(codec, rate=rate, layout=layout)
        if codec in ("aac", "wmav2"):
            stream.bit_rate = 128_000
        samples = np.repeat(tone(rate)[None], 2 if layout == "stereo" else 1, axis=0)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=layout)
        frame.rate = rate
        for chunk in (frame, None):
            for packet in stream.encode(chunk):
                out.mux(packet)
    return file


@pytest.mark.parametrize(
    ("name", "codec", "rate"),
    [
        ("a.m4a", "aac", 44_100),
        ("a.mp4", "aac", 16_000),
        ("a.mov", "alac", 48_000),
        ("a.mkv", "pcm_s16le", 16_000),
        ("a.webm", "libopus", 48_000),
        ("a.aac", "aac", 32_000),
        ("a.wma", "wmav2", 44_100),
    ],
)
@pytest.mark.parametrize("layout", ["mono", "stereo"])
def test_containers(name: str, codec: str, rate: int, layout: str, tmp_path: Path) -> None:
    file = container(tmp_path, name, codec, rate, layout)
    for source in (file, file.read_bytes()):
        found = load_waveform(source)
        assert found.seconds == pytest.approx(1.0, abs=0.12)
        heard = np.argmax(np.abs(np.fft.rfft(found.samples))) / found.seconds
        assert heard == pytest.approx(440, abs=5)
        assert np.abs(found.samples[4000:12_000]).max() == pytest.approx(0.5, abs=0.05)
    assert waveform_seconds(file) == pytest.approx(1.0, abs=0.12)
    notices = load_waveform(file).notices
    assert any("2 channels mixed down" in notice for notice in notices) is (layout == "stereo")
    assert any("resampled" in notice for notice in notices) is (rate != 16_000)


def test_a_part(tmp_path: Path) -> None:
    file = container(tmp_path, "a.mkv", "pcm_s16le", 16_000, "mono")
    part = load_waveform(file, start=0.25, end=0.5).samples
    np.testing.assert_array_equal(part, load_waveform(file).samples[4_000:8_000])


@pytest.mark.parametrize("options", [{}, {"movflags": "faststart"}])
def test_containers_cut_short(options: dict[str, str], tmp_path: Path) -> None:
    file = container(tmp_path, "a.m4a", "aac", options=options)
    content = file.read_bytes()
    for share in (0.1, 0.4):
        file.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(MediaError, match=r"a\.m4a is") as caught:
            load_waveform(file)
        assert "\n" not in str(caught.value)


def test_a_video_without_sound(tmp_path: Path) -> None:
    av = pytest.importorskip("av", reason=WITH_AV)
    file = tmp_path / "a.mp4"
    with av.open(str(file), "w") as out:
        stream = out.add_stream("mpeg4", rate=24, width=32, height=32, pix_fmt="yuv420p")
        frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), dtype=np.uint8), format="rgb24")
        for chunk in (frame, None):
            for packet in stream.encode(chunk):
                out.mux(packet)
    for read in (load_waveform, waveform_seconds):
        with pytest.raises(MediaError, match=r"a\.mp4 has no sound track"):
            read(file)


# --- without PyAV --------------------------------------------------------------------------------


def m4a(folder: Path) -> Path:
    """What an m4a begins with is enough to be told that a decoder is missing."""
    (folder / "a.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(100))
    return folder / "a.m4a"


@pytest.fixture
def without_av(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)


@pytest.mark.usefixtures("without_av")
def test_neither_pyav_nor_afconvert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    for read in (load_waveform, waveform_seconds):
        with pytest.raises(MissingExtraError, match=r"gemma4-mlx\[media\].*afconvert"):
            read(m4a(tmp_path))
    (tmp_path / "a.webm").write_bytes(b"\x1aE\xdf\xa3" + bytes(100))
    with pytest.raises(MissingExtraError):
        load_waveform((tmp_path / "a.webm").read_bytes())


@pytest.mark.usefixtures("without_av")
def test_a_text_stays_a_foreign_file_without_pyav(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("this is text, not a recording")
    with pytest.raises(MediaError, match=r"text\.wav is not a recording"):
        load_waveform(tmp_path / "text.wav")


@pytest.mark.usefixtures("without_av")
@pytest.mark.parametrize("by", ["path", "bytes"])
def test_afconvert(by: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a Mac: the tool is called with the file, and the WAV it writes is read."""

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        assert command[:5] == ["/usr/bin/afconvert", "-f", "WAVE", "-d", "LEF32"]
        assert Path(command[5]).is_absolute()
        assert Path(command[5]).read_bytes()[4:8] == b"ftyp"
        sf.write(command[6], np.stack([tone(8_000)] * 2, axis=1), 8_000, "FLOAT", format="WAV")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(audio_containers.sys, "platform", "darwin")
    monkeypatch.setattr(audio_containers.shutil, "which", lambda tool: f"/usr/bin/{tool}")
    monkeypatch.setattr(audio_containers.subprocess, "run", run)
    file = m4a(tmp_path)
    found = load_waveform(file if by == "path" else file.read_bytes())
    assert found.seconds == 1.0
    assert len(found.notices) == 2
    assert waveform_seconds(file) == 1.0


@pytest.mark.usefixtures("without_av")
def test_afconvert_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", "Error: ExtAudioFileOpen\nfailed")

    monkeypatch.setattr(audio_containers.sys, "platform", "darwin")
    monkeypatch.setattr(audio_containers.shutil, "which", lambda tool: f"/usr/bin/{tool}")
    monkeypatch.setattr(audio_containers.subprocess, "run", run)
    with pytest.raises(MediaError, match=r"a\.m4a is not a recording .*ExtAudioFileOpen failed"):
        load_waveform(m4a(tmp_path))
