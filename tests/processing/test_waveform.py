"""Recordings in every format libsndfile writes, whole, in part, and broken."""

import base64
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from gemma4_mlx.errors import InputError, MediaError
from gemma4_mlx.processing.waveform import load_waveform, resample, waveform_seconds
from tests.processing import transformers_side


def tone(seconds: float = 0.5, rate: int = 16_000, hertz: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)).astype("f4")


def written(folder: Path, samples: np.ndarray, name: str = "a.wav", **options: Any) -> Path:
    options.setdefault("samplerate", 16_000)
    sf.write(folder / name, samples, **options)
    return folder / name


# Headerless formats say neither rate nor encoding; the others are told by their first bytes.
FORMATS = sorted(set(sf.available_formats()) - {"RAW"})


# Formats and encodings that have one rate only.
RATES = {"WVE": 8_000, "XI": 44_100, "GSM610": 8_000}


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_and_encoding(form: str, tmp_path: Path) -> None:
    read = 0
    for subtype in sf.available_subtypes(form):
        if subtype.startswith("DWVW"):
            continue  # libsndfile 1.2 cannot read what it writes here
        rate = RATES.get(form) or RATES.get(subtype, 16_000)
        file = tmp_path / f"{subtype}.{form.lower()}"
        try:
            sf.write(file, tone(0.5, rate), rate, subtype, format=form)
        except sf.LibsndfileError:
            continue  # it reads this encoding and does not write it
        waveform = load_waveform(file)
        assert waveform.samples.dtype == np.float32
        assert waveform.rate == 16_000
        assert np.abs(waveform.samples).max() <= 1
        # Lossy codecs add a delay and some noise; the tone stays.
        assert 0.45 <= waveform.seconds <= 0.65, (form, subtype)
        spectrum = np.abs(np.fft.rfft(waveform.samples))
        heard = np.argmax(spectrum) / waveform.seconds
        assert heard == pytest.approx(440, abs=10), (form, subtype)
        assert waveform_seconds(file) == pytest.approx(waveform.seconds, abs=1e-3)
        read += 1
    assert read, f"no encoding of {form} could be written"


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_bit_depths(subtype: str, tmp_path: Path) -> None:
    step = {"PCM_U8": 2**-7, "PCM_16": 2**-15}.get(subtype, 2**-23)
    found = load_waveform(written(tmp_path, tone(), subtype=subtype))
    np.testing.assert_allclose(found.samples, tone(), atol=step)
    assert found.notices == []


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000, 12_345])
def test_resampling_equals_the_reference(rate: int, tmp_path: Path) -> None:
    transformers_side.require()
    from transformers.audio_utils import load_audio

    stereo = np.stack([tone(0.7, rate), tone(0.7, rate, 1000)], axis=1)
    file = written(tmp_path, stereo, samplerate=rate, subtype="FLOAT")
    found = load_waveform(file)
    np.testing.assert_array_equal(found.samples, load_audio(str(file), 16_000, backend="soundfile"))
    assert found.notices == [
        f"{file}: 2 channels mixed down to one",
        f"{file}: resampled from {rate} Hz to 16000 Hz",
    ]


def test_resampling_keeps_the_tone_and_drops_what_lies_above() -> None:
    low = resample(tone(1, 48_000, 1000), 48_000, 16_000)
    np.testing.assert_allclose(low[400:-400], tone(1, 16_000, 1000)[400:-400], atol=1e-3)
    assert np.abs(resample(tone(1, 48_000, 12_000), 48_000, 16_000)[400:-400]).max() < 1e-3
    assert len(resample(np.zeros(1001), 44_100, 16_000)) == 364


def test_mixdown_is_the_mean() -> None:
    found = load_waveform((np.array([[0.5, -0.5], [1.0, 0.5]]), 16_000))
    assert found.samples.tolist() == [0.0, 0.75]


def test_beyond_full_scale_is_turned_down(tmp_path: Path) -> None:
    file = written(tmp_path, 4 * tone(), subtype="FLOAT")
    found = load_waveform(file)
    np.testing.assert_allclose(found.samples, 2 * tone(), atol=1e-3)
    assert found.notices == [f"{file}: peaks at 2 times full scale, turned down to it"]


# --- sources -------------------------------------------------------------------------------------


def test_sources(tmp_path: Path) -> None:
    file = written(tmp_path, tone(), "a.flac")
    expected = load_waveform(file).samples
    encoded = base64.b64encode(file.read_bytes()).decode()
    for source in (str(file), file.as_uri(), file.read_bytes(), f"data:audio;base64,{encoded}"):
        np.testing.assert_array_equal(load_waveform(source).samples, expected)
        assert waveform_seconds(source) == 0.5


def test_arrays() -> None:
    for array in (
        np.array([0, 16384, -32768], dtype=np.int16),
        np.array([0, 2**30, -(2**31)], dtype=np.int32),
        np.array([128, 192, 0], dtype=np.uint8),
        np.array([0, 0.5, -1.0]),
        [0, 0.5, -1.0],
    ):
        found = load_waveform(array)  # type: ignore[arg-type]
        assert found.samples.tolist() == [0, 0.5, -1.0]
    assert load_waveform((np.zeros(8_000), 8_000)).seconds == 1.0
    assert waveform_seconds(np.zeros(8_000)) == 0.5
    assert waveform_seconds((np.zeros((8_000, 2)), np.int64(8_000))) == 1.0


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (np.zeros(0), "zero samples"),
        (np.zeros((2, 2, 2)), "expected .samples,. or"),
        (np.zeros((2, 16_000)), "expected .samples,. or"),
        (np.array(["a"]), "expected floats"),
        (np.array([0.0, np.nan]), "NaN or infinite"),
        (np.array([0.0, -np.inf]), "NaN or infinite"),
        ((np.zeros(4), 0), "its rate in Hz"),
        ((np.zeros(4), "16k"), "its rate in Hz"),
        ((np.zeros(4),), "its rate in Hz"),
        *(((np.zeros(4), rate), "its rate in Hz") for rate in (np.nan, np.inf, 1e-9, 1e12, True)),
        ([[1.0], [1.0, 2.0]], "a recording given as a list is no array"),
        (([[1.0], [1.0, 2.0]], 16_000), "a recording given as a list is no array"),
        (None, "expected"),
    ],
)
def test_arrays_that_are_no_recordings(source: Any, said: str) -> None:
    with pytest.raises(MediaError, match=said):
        load_waveform(source)


def test_a_file_whose_rate_is_absurd(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="has the rate 1; expected"):
        load_waveform(written(tmp_path, tone(), samplerate=1))


# --- a part --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3"])
def test_a_part_of_a_file(name: str, tmp_path: Path) -> None:
    sweep = np.interp(np.arange(32_000), [0, 32_000], [-0.9, 0.9]).astype("f4") * tone(2)
    file = written(tmp_path, sweep, name)
    whole = load_waveform(file).samples
    np.testing.assert_allclose(load_waveform(file, start=0.5, end=1.25).samples, whole[8000:20000])
    np.testing.assert_allclose(load_waveform(file, start=1.5).samples, whole[24000:])
    np.testing.assert_array_equal(load_waveform(file, end=99).samples, whole)


def test_a_part_of_an_array() -> None:
    ramp = np.arange(10) / 10
    part = load_waveform((ramp, 1000), 1000, start=0.002, end=0.005)
    assert part.samples == pytest.approx(ramp[2:5])


def test_parts_that_are_empty(tmp_path: Path) -> None:
    file = written(tmp_path, tone())
    with pytest.raises(MediaError, match="no sound in it from 7 s on"):
        load_waveform(file, start=7)
    for part in (
        {"start": -1.0},
        {"start": np.nan},
        {"end": np.inf},
        {"start": 2.0, "end": 2.0},
        {"start": 2.0, "end": 1.0},
    ):
        with pytest.raises(InputError, match="of a recording is empty"):
            load_waveform(file, **part)  # type: ignore[arg-type]


# --- what is no recording ------------------------------------------------------------------------


def test_missing_empty_and_foreign_files(tmp_path: Path) -> None:
    for name, content, said in (
        ("empty.wav", b"", "is empty"),
        ("text.wav", b"this is text, not a recording\n", "is not a recording"),
        ("picture.wav", b"\x89PNG\r\n\x1a\n" + bytes(64), "(has no sound|is not a recording)"),
        ("header.wav", b"RIFF\x24\0\0\0WAVE", "is a damaged recording"),
        ("header.flac", b"fLaC" + bytes(8), "is a damaged recording"),
    ):
        (tmp_path / name).write_bytes(content)
        for read in (load_waveform, waveform_seconds):
            with pytest.raises(MediaError, match=rf"{name} {said}") as caught:
                read(tmp_path / name)
            assert "\n" not in str(caught.value)
    with pytest.raises(MediaError, match=r"none\.wav does not exist; give the path of a record"):
        load_waveform(tmp_path / "none.wav")
    with pytest.raises(MediaError, match="is a folder"):
        load_waveform(tmp_path)


def test_zero_samples_and_nan(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="zero samples"):
        load_waveform(written(tmp_path, np.zeros(0), "none.wav"))
    broken = tone()
    broken[77] = np.nan
    with pytest.raises(MediaError, match=r"nan\.wav has samples that are NaN"):
        load_waveform(written(tmp_path, broken, "nan.wav", subtype="FLOAT"))


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3"])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_recordings_cut_short(name: str, share: float, tmp_path: Path) -> None:
    file = written(tmp_path, np.random.uniform(-0.5, 0.5, 48_000), name)
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(MediaError, match=rf"{name} is .*(cut short|damaged)"):
        load_waveform(file)


def test_a_stream_of_unknown_length_is_read(tmp_path: Path) -> None:
    """What ffmpeg writes into a pipe: it cannot go back to fill the sizes in."""
    data = (tone() * 32767).astype("<i2").tobytes()
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 16_000, 32_000, 2, 16)
    for size in (0xFFFFFFFF, 0x7FFFFFFF):
        head = struct.pack("<4sI4s", b"RIFF", size, b"WAVE")
        (tmp_path / "a.wav").write_bytes(head + form + struct.pack("<4sI", b"data", size) + data)
        np.testing.assert_allclose(load_waveform(tmp_path / "a.wav").samples, tone(), atol=1e-4)


@pytest.mark.parametrize(
    ("form", "subtype"),
    [
        ("WAV", "PCM_16"), ("WAV", "FLOAT"), ("RF64", "PCM_16"), ("W64", "PCM_16"),
        ("AIFF", "PCM_16"), ("AIFF", "FLOAT"), ("AU", "PCM_16"), ("CAF", "PCM_16"),
        ("OGG", "VORBIS"), ("OGG", "OPUS"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("share", [0.5, 0.9, 0.999])
def test_a_recording_cut_short_in_any_container(
    form: str, subtype: str, share: float, tmp_path: Path
) -> None:
    """Decoders read what is left of it without a word."""
    sweep = 0.3 * np.sin(np.arange(160_000) / 20 + np.arange(160_000) ** 2 / 1e6)
    file = written(tmp_path, sweep, "a.x", format=form, subtype=subtype)
    whole = file.read_bytes()
    assert len(load_waveform(whole).samples) == pytest.approx(160_000, abs=400)
    file.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(MediaError, match=r"a\.x is cut short"):
        load_waveform(file)


def test_a_foreign_file_named_mp3_is_told_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """libmpg123 would search it for frames and complain on stderr of what it finds."""
    file = tmp_path / "text.mp3"
    file.write_text("this is no recording. " * 100)
    with pytest.raises(MediaError, match=r"text\.mp3 is not a recording"):
        load_waveform(file)
    assert capfd.readouterr().err == ""
