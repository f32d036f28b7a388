"""Speech is told from a room's noise: a real recording in silence, in noise, and noise alone."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from gemma4_cli.voice_activity import VoiceActivity, decibels

RATE = 16_000
BEFORE, AFTER = 2.0, 2.0  # seconds around the recording


@pytest.fixture(scope="session")
def digits(repository: Path) -> np.ndarray:
    """4.6 s of a person saying digits; the first begins at 0.14 s, the last ends at 4.4 s."""
    return soundfile.read(repository / "notebooks/demo_model/digits.wav", dtype="float32")[0]


def noise(seconds: float, level: float, slope: float = 0.0, seed: int = 0) -> np.ndarray:
    """``level`` dBFS RMS; its power falls as frequency to the ``slope`` (1 pink, 2 brown)."""
    count = round(seconds * RATE)
    spectrum = np.fft.rfft(np.random.default_rng(seed).normal(size=count))
    frequency = np.maximum(np.fft.rfftfreq(count, 1 / RATE), 20)
    sound = np.fft.irfft(spectrum / frequency ** (slope / 2), count)
    return (sound / sound.std() * 10 ** (level / 20)).astype(np.float32)


def around(sound: np.ndarray) -> np.ndarray:
    return np.pad(sound, (round(BEFORE * RATE), round(AFTER * RATE)))


def listen(sound: np.ndarray, block: int = 800) -> tuple[VoiceActivity, list[float]]:
    """What was found, and the seconds at which a second of silence had followed speech."""
    voice, ends = VoiceActivity(), []
    for start in range(0, len(sound), block):
        voice.add(sound[start : start + block])
        heard = min(start + block, len(sound))
        if voice.end is not None and heard - voice.end >= RATE:
            ends.append(heard / RATE)
    return voice, ends


def test_speech_in_silence(digits: np.ndarray) -> None:
    voice, ends = listen(around(digits))
    assert voice.begin is not None and voice.end is not None
    assert voice.begin / RATE == pytest.approx(BEFORE + 0.14, abs=0.05)
    assert voice.end / RATE == pytest.approx(BEFORE + 4.4, abs=0.1)
    assert ends[0] == pytest.approx(voice.end / RATE + 1, abs=0.06)


def test_speech_from_the_first_sample_on(digits: np.ndarray) -> None:
    voice, ends = listen(np.concatenate([digits[round(0.14 * RATE) :], np.zeros(2 * RATE)]))
    assert voice.begin is not None and voice.begin < 0.1 * RATE
    assert ends[0] == pytest.approx(4.4 - 0.14 + 1, abs=0.15)


@pytest.mark.parametrize("slope", [0, 1, 2])
@pytest.mark.parametrize("level", [-60, -45, -35])
def test_speech_in_noise(digits: np.ndarray, level: float, slope: float) -> None:
    sound = around(digits)
    voice, ends = listen(sound + noise(len(sound) / RATE, level, slope))
    assert voice.begin is not None
    assert BEFORE < voice.begin / RATE < BEFORE + 0.3
    assert BEFORE + 4.1 < ends[0] - 1 < BEFORE + 4.6


def test_quiet_speech(digits: np.ndarray) -> None:
    sound = around(digits * np.float32(0.01))
    voice, ends = listen(sound + noise(len(sound) / RATE, -85))
    assert voice.begin is not None and abs(voice.begin / RATE - BEFORE - 0.2) < 0.2
    assert BEFORE + 4.0 < ends[0] - 1 < BEFORE + 4.6


@pytest.mark.parametrize("slope", [0, 1, 2])
@pytest.mark.parametrize("level", [-90, -50, -10])
def test_noise_is_no_speech(level: float, slope: float) -> None:
    voice = VoiceActivity()
    sound = noise(20, level, slope, seed=round(slope - level))
    for start in range(0, len(sound), 800):
        voice.add(sound[start : start + 800])
        assert voice.begin is None, start / RATE


def test_a_fan_that_comes_on_ends_no_recording(digits: np.ndarray) -> None:
    fan = noise(15, -70)
    fan[4 * RATE :] += noise(11, -35, seed=1)
    voice, ends = listen(fan)
    assert ends == [] and voice.begin is None
    fan[8 * RATE : 8 * RATE + len(digits)] += digits
    voice, ends = listen(fan)
    assert voice.begin is not None and 7.9 < voice.begin / RATE < 8.4
    assert 8 + 4.0 < ends[0] - 1 < 8 + 4.6


def test_clicks_of_keys_are_no_speech() -> None:
    sound = noise(10, -70)
    for second in np.arange(0.05, 10, 0.6):
        start = round(second * RATE)
        sound[start : start + 500] += noise(500 / RATE, -15)
    voice, ends = listen(sound)
    assert voice.begin is None and ends == []


def test_a_pause_shorter_than_a_second_ends_nothing(digits: np.ndarray) -> None:
    sound = around(np.concatenate([digits, np.zeros(RATE // 2, np.float32), digits]))
    _, ends = listen(sound + noise(len(sound) / RATE, -60, 1))
    assert ends[0] > BEFORE + 2 * len(digits) / RATE + 0.5


@pytest.mark.parametrize("block", [7, 139, 16_000])
def test_the_size_of_blocks_does_not_matter(digits: np.ndarray, block: int) -> None:
    sound = around(digits)[: 4 * RATE] + noise(4, -50)
    voice, _ = listen(sound, block)
    whole, _ = listen(sound, len(sound))
    assert voice.begin is not None and (voice.begin, voice.end) == (whole.begin, whole.end)


def test_decibels() -> None:
    assert decibels(np.array([1.0, 0.01])).tolist() == pytest.approx([0.0, -20.0])
    assert decibels(np.zeros(1))[0] == pytest.approx(-200.0)
