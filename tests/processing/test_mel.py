from typing import Any

import numpy as np
import pytest

from gemma4_mlx.processing.mel import (
    RELEASED,
    audio_token_count,
    log_mel,
    log_mel_batch,
    mel_filters,
    mel_frame_count,
)
from gemma4_mlx.processing.settings import MelSettings
from tests.processing import transformers_side

LENGTHS = [161, 320, 321, 1_000, 5_001, 16_000, 16_001, 30_123, 127, 128, 129]


def noise(samples: int) -> np.ndarray:
    return np.random.uniform(-0.9, 0.9, samples).astype(np.float32)


@pytest.mark.parametrize("mels", [128, 64])
@pytest.mark.parametrize(
    "lengths", [[n] for n in LENGTHS if n > 160] + [LENGTHS, [480_000], [3_000, 480_000]]
)
def test_features_equal_the_reference(lengths: list[int], mels: int) -> None:
    transformers_side.require()
    clips = [noise(length) for length in lengths]
    clips[0][50:100] = 0
    reference = transformers_side.feature_extractor(feature_size=mels)
    expected: dict[str, Any] = reference(clips, return_tensors="np")
    features, mask = log_mel_batch(clips, MelSettings(feature_size=mels))
    np.testing.assert_allclose(features, expected["input_features"], atol=1e-5, rtol=0)
    np.testing.assert_array_equal(mask, expected["input_features_mask"])


def test_other_settings_equal_the_reference() -> None:
    transformers_side.require()
    settings = MelSettings(
        feature_size=40,
        min_frequency=125.0,
        max_frequency=7_500.0,
        mel_floor=1e-5,
        input_scale_factor=2.0,
        fft_length=1024,
        per_bin_mean=tuple(np.linspace(-1, 1, 40)),
        per_bin_stddev=tuple(np.linspace(1, 2, 40)),
    )
    reference = transformers_side.feature_extractor(
        feature_size=40,
        min_frequency=125.0,
        max_frequency=7_500.0,
        mel_floor=1e-5,
        input_scale_factor=2.0,
        fft_overdrive=True,
        per_bin_mean=list(settings.per_bin_mean or ()),
        per_bin_stddev=list(settings.per_bin_stddev or ()),
    )
    clips = [noise(4_000), noise(7_777)]
    expected = reference(clips, return_tensors="np")
    features, mask = log_mel_batch(clips, settings)
    np.testing.assert_allclose(features, expected["input_features"], atol=1e-5, rtol=0)
    np.testing.assert_array_equal(mask, expected["input_features_mask"])


def test_filters_equal_the_reference() -> None:
    transformers_side.require()
    expected = transformers_side.feature_extractor().mel_filters
    np.testing.assert_allclose(mel_filters(), expected, atol=1e-12)


def test_token_counts_of_googles_recordings() -> None:
    seconds = {10.069: 252, 11.221: 281, 8.789: 220, 10.965: 274, 9.429: 236}
    assert {s: audio_token_count(round(16_000 * s)) for s in seconds} == seconds


def test_token_counts_equal_the_features() -> None:
    for samples in [*range(0, 1500, 7), 479_999, 480_000]:
        frames = len(log_mel(noise(samples)))
        assert frames == mel_frame_count(samples)
        assert audio_token_count(samples) == len(range(0, len(range(0, frames, 2)), 2))
    assert audio_token_count(160) == 0
    assert audio_token_count(161) == 1
    assert audio_token_count(480_000) == 750


def test_a_tone_is_found_in_its_band() -> None:
    wave = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000)
    loudest = log_mel(wave.astype(np.float32))[10].argmax()
    middle = 700 * (10 ** (2595 * np.log10(1 + 8000 / 700) * (loudest + 1) / 129 / 2595) - 1)
    assert middle == pytest.approx(1000, abs=30)


def test_silence_is_the_floor() -> None:
    assert log_mel(np.zeros(3_200, dtype=np.float32)) == pytest.approx(np.log(RELEASED.mel_floor))


def test_no_frame_hears_what_comes_after_it() -> None:
    wave = noise(8_000)
    later = wave.copy()
    later[4_000:] = 0
    same = (4_000 + 160 - 321) // 160 + 1
    np.testing.assert_array_equal(log_mel(wave)[:same], log_mel(later)[:same])
