"""Sound for the tests of reading in blocks, and how it is read there."""

from typing import Any

import numpy as np

from gemma4_mlx.processing.sound_stream import open_sound
from gemma4_mlx.processing.waveform import load_waveform


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
