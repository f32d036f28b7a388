"""Recordings with something wrong: one line each, never a crash, nothing half-written."""

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from gemma4_mlx.processing import audio_containers
from tests.speech.scripted import noise

Run = Callable[..., Any]
RATE = 16_000


def wav(path: Path, samples: np.ndarray, rate: int = RATE, subtype: str = "FLOAT") -> None:
    soundfile.write(path, samples, rate, subtype)


def empty(path: Path) -> None:
    path.touch()


def text(path: Path) -> None:
    path.write_text("no recording at all\n" * 50)


def no_samples(path: Path) -> None:
    wav(path, np.zeros(0))


def all_broken(path: Path) -> None:
    wav(path, np.full(RATE, np.nan))


def beginning_alone(path: Path) -> None:
    wav(path, noise(1))
    path.write_bytes(path.read_bytes()[:30])


def broken_flac(path: Path) -> None:
    path.write_bytes(b"fLaC" + os.urandom(400))


def silent_video(path: Path) -> None:
    av = pytest.importorskip("av")
    with av.open(str(path), "w", format="mp4") as video:
        stream = video.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 16
        frame = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")
        for packet in [*stream.encode(frame), *stream.encode()]:
            video.mux(packet)


FAILURES = {
    "empty.wav": (empty, "is empty"),
    "text.wav": (text, "not a recording"),
    "none.wav": (no_samples, "zero samples"),
    "nan.wav": (all_broken, "NaN"),
    "head.wav": (beginning_alone, "damaged"),
    "broken.flac": (broken_flac, "damaged"),
    "video.mp4": (silent_video, "has no sound track"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_an_error_in_one_line_and_the_next_is_heard(
    gemma4: Run, says: Run, recording: Run, tmp_path: Path, name: str
) -> None:
    make, words = FAILURES[name]
    make(tmp_path / name)
    says("one")
    good, out = recording("zz.wav"), tmp_path / "out"
    result = gemma4("transcribe", tmp_path / name, good, "-o", out, "-f", "all", "-m", "tiny")
    assert result.status == 1
    error, *written, summary = result.err.splitlines()
    assert str(tmp_path / name) in error and words in error and len(written) == 5
    assert summary == f"gemma4: 1 of 2 files failed: {tmp_path / name}"
    assert {path.stem for path in out.iterdir()} == {"zz"}


def zeros(path: Path) -> None:
    wav(path, np.zeros(RATE))


def some_broken(path: Path) -> None:
    samples = noise(1)
    samples[5000:5010] = np.nan
    wav(path, samples)


def clipped(path: Path) -> None:
    wav(path, np.clip(noise(1) * 20, -1, 1), subtype="PCM_16")


def telephone(path: Path) -> None:
    wav(path, noise(1, 8000), 8000, "ULAW")


def studio(path: Path) -> None:
    wav(path, noise(1, 192_000), 192_000, "PCM_24")


def eight_channels(path: Path) -> None:
    wav(path, np.stack([noise(1)] * 8, axis=1), subtype="PCM_16")


def cut_short(path: Path) -> None:
    wav(path, noise(1), subtype="PCM_16")
    path.write_bytes(path.read_bytes()[:-RATE])


def unfinished(path: Path) -> None:
    """The header of a recorder that was switched off: it promises nothing."""
    wav(path, noise(1), subtype="PCM_16")
    data = bytearray(path.read_bytes())
    at = data.index(b"data") + 4
    data[at : at + 4] = struct.pack("<I", 0)
    path.write_bytes(data)


WARNINGS = {
    "zeros.wav": (zeros, "nothing but silence", ""),
    "some.wav": (some_broken, "10 samples are NaN", "one"),
    "clipped.wav": (clipped, "it is clipped", "one"),
    "telephone.wav": (telephone, "resampled from 8000 Hz", "one"),
    "studio.wav": (studio, "resampled from 192000 Hz", "one"),
    "eight.wav": (eight_channels, "8 channels mixed down", "one"),
    "short.wav": (cut_short, "is cut short", "one"),
    "unfinished.wav": (unfinished, "was not finished", "one"),
}


@pytest.mark.parametrize("name", WARNINGS)
def test_a_warning_in_one_line(gemma4: Run, says: Run, tmp_path: Path, name: str) -> None:
    make, words, heard = WARNINGS[name]
    make(tmp_path / name)
    says("one")
    result = gemma4("transcribe", tmp_path / name, "-m", "tiny")
    assert (result.status, result.out) == (0, f"{heard}\n")
    (line,) = result.err.splitlines()
    assert line.count(str(tmp_path / name)) == 1 and words in line


def test_a_format_that_needs_an_extra(
    gemma4: Run, loaded: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audio_containers, "_import_av", lambda: None)
    monkeypatch.setattr(audio_containers.shutil, "which", lambda _: None)
    memo = tmp_path / "memo.m4a"
    memo.write_bytes(b"\0\0\0\x20ftypM4A " + bytes(100))
    result = gemma4("transcribe", memo, "-m", "tiny")
    assert result.status == 1 and "pip install 'gemma4-mlx[media]'" in result.err
    assert "afconvert" in result.err and len(result.err.splitlines()) == 1


@pytest.mark.parametrize("name", ["memo.m4a", "memo.mp4", "memo.mov", "memo.webm", "memo.mp3"])
def test_other_formats(gemma4: Run, says: Run, tmp_path: Path, name: str) -> None:
    av = pytest.importorskip("av")
    codec = {".webm": "libopus", ".mp3": "mp3"}.get(Path(name).suffix, "aac")
    path = tmp_path / name
    form = "mp4" if path.suffix == ".m4a" else None
    with av.open(str(path), "w", format=form) as container:
        stream = container.add_stream(codec, rate=48_000, layout="mono")
        samples = (noise(1, 48_000) * 2**15).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate = 48_000
        for packet in [*stream.encode(frame), *stream.encode()]:
            container.mux(packet)
    says("one")
    result = gemma4("transcribe", path, "-m", "tiny")
    assert (result.status, result.out) == (0, "one\n"), result.err


def test_a_file_that_may_not_be_read(
    gemma4: Run, says: Run, recording: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No wrong usage, which would stop all of them: whoever opens it tells, in one line."""
    says("one")
    locked, a = recording("locked.wav"), recording("a.wav")
    opened = Path.open

    def open_unless_locked(path: Path, *args: Any, **kwargs: Any) -> Any:
        if path == locked:
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", open_unless_locked)
    result = gemma4("transcribe", locked, a, "-m", "tiny")
    assert (result.status, result.out) == (1, f"== {a}\none\n")
    assert len(result.err.splitlines()) == 2 and "Permission denied" in result.err


def test_from_beyond_the_end(gemma4: Run, says: Run, recording: Run) -> None:
    says("one")
    short, long = recording("a.wav"), recording("b.wav", 10)
    result = gemma4("transcribe", short, long, "--start", "5", "-m", "tiny")
    assert result.status == 1 and result.out == f"== {long}\none\n"
    first, _ = result.err.splitlines()
    assert first == f"gemma4: {short} has no sound in it from 5 s on: it is 1.0 s long"
