"""Where long recordings are cut."""

import itertools

import numpy as np
import pytest

from gemma4_mlx.speech.windows import cut_windows

RATE = 1000
LONGEST = 30 * RATE


def noise(seconds: float) -> np.ndarray:
    return np.random.default_rng(1).normal(0, 0.1, int(seconds * RATE)).astype(np.float32)


@pytest.mark.parametrize("seconds", [0.01, 12, 29.999, 30, 30.001, 30.5, 31, 60, 61.3, 200])
def test_nothing_is_lost_or_doubled(seconds: float) -> None:
    samples = noise(seconds)
    windows = list(cut_windows(samples, RATE, LONGEST))
    assert windows[0].start == 0 and windows[-1].stop == len(samples)
    assert all(a.stop == b.start for a, b in itertools.pairwise(windows))
    lengths = [window.stop - window.start for window in windows]
    assert max(lengths) <= LONGEST
    assert len(windows) == 1 or min(lengths) >= 0.8 * RATE  # nothing too short to hear


def test_up_to_thirty_seconds_is_one_window() -> None:
    assert len(list(cut_windows(noise(30), RATE, LONGEST))) == 1


def test_cut_in_the_pause() -> None:
    samples = noise(50)
    samples[26_000:26_500] = 0
    first, second = cut_windows(samples, RATE, LONGEST)
    assert 26_000 <= first.stop <= 26_500
    assert second.stop == 50_000


def test_a_pause_early_in_the_window_is_left_alone() -> None:
    """Short windows would cost a prompt each: only the last seconds are searched."""
    samples = noise(50)
    samples[5_000:6_000] = 0
    first = next(cut_windows(samples, RATE, LONGEST))
    assert first.stop >= 22_000


def test_silence_is_cut_as_late_as_can_be() -> None:
    lengths = [
        w.stop - w.start for w in cut_windows(np.zeros(90 * RATE, np.float32), RATE, LONGEST)
    ]
    assert len(lengths) == 4 and min(lengths[:3]) > 29 * RATE


@pytest.mark.parametrize("longest", [40, 1_000, 10_000])
def test_windows_of_a_model_that_hears_less(longest: int) -> None:
    windows = list(cut_windows(noise(12), RATE, longest))
    assert [w.start for w in windows] == [0, *(w.stop for w in windows[:-1])]
    assert windows[-1].stop == 12 * RATE
    assert all(0 < w.stop - w.start <= longest for w in windows)


def test_no_samples_no_windows() -> None:
    assert list(cut_windows(np.zeros(0, np.float32), RATE, LONGEST)) == []
