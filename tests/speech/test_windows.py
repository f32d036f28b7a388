"""Where recordings are cut, with a detector that takes loud sound for speech."""

import itertools
from collections.abc import Iterator

import numpy as np
import pytest

from gemma4_mlx.speech.voice import everything
from gemma4_mlx.speech.windows import Window, cut_windows, halves
from tests.speech.scripted import RATE, loud, noise

LONGEST = 30 * RATE


def silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * RATE), np.float32)


def blocks(samples: np.ndarray, size: int = 8000) -> Iterator[np.ndarray]:
    return (samples[i : i + size] for i in range(0, len(samples), size))


def cut(*parts: np.ndarray, longest: int = LONGEST, size: int = 8000) -> list[Window]:
    """The windows of the parts, each of which must hold the very samples of its place."""
    samples = np.concatenate(parts)
    windows = list(cut_windows(blocks(samples, size), longest, loud()))
    for window in windows:
        assert len(window.samples) <= longest
        assert np.array_equal(
            window.samples, samples[window.first : window.first + len(window.samples)]
        )
    assert_all_speech_is_in(windows, samples)
    return windows


def assert_all_speech_is_in(windows: list[Window], samples: np.ndarray) -> None:
    heard = np.zeros(len(samples), bool)
    for window in windows:
        heard[window.first : window.first + len(window.samples)] = True
    assert heard[np.abs(samples) > 0.02].all()


@pytest.mark.parametrize("size", [100, 512, 7777, 10**6])
def test_windows_do_not_depend_on_how_the_sound_comes(size: int) -> None:
    parts = [noise(3), silence(2), noise(33), silence(0.5), noise(7)]
    for one, other in zip(cut(*parts), cut(*parts, size=size), strict=True):
        assert np.array_equal(one.samples, other.samples)
        assert (one.start, one.end, one.overlap) == (other.start, other.end, other.overlap)


def test_times_are_those_of_speech() -> None:
    windows = cut(silence(2), noise(3), silence(4), noise(1.5), silence(3))
    times = [(window.start, window.end) for window in windows]
    assert np.allclose(times, [(2, 5), (9, 10.5)], atol=0.04)
    # Some of the silence around is heard too, not much of it.
    assert all(0.3 < w.seconds - (w.end - w.start) < 0.9 for w in windows)


def test_a_long_pause_ends_a_window_and_a_short_one_does_not() -> None:
    assert len(cut(noise(3), silence(0.6), noise(3))) == 1
    assert len(cut(noise(3), silence(1.6), noise(3))) == 2


def test_the_longer_a_window_the_shorter_the_pause_that_ends_it() -> None:
    for said, pause in [(1, 1.5), (10, 1.0), (20, 0.6)]:
        assert len(cut(noise(said), silence(pause + 0.05), noise(2))) == 2, said
        assert len(cut(noise(said), silence(pause - 0.2), noise(2))) == 1, said


def test_a_full_window_is_cut_in_the_longest_pause_of_its_later_part() -> None:
    parts = [noise(5), silence(0.5), noise(9), silence(0.4), noise(9.3), silence(0.3), noise(9)]
    first, second = cut(*parts)
    assert 14.5 <= first.end <= 14.9 and first.overlap == first.shared == 0
    assert second.start == pytest.approx(14.9, abs=0.05) and not second.overlap
    assert first.first + len(first.samples) <= second.first


def test_speech_without_a_pause_is_heard_twice_about_the_cut() -> None:
    windows = cut(noise(100))
    assert len(windows) == 4
    for before, after in itertools.pairwise(windows):
        shared = before.first + len(before.samples) - after.first
        assert before.shared == after.overlap == shared / RATE
        assert 3 < after.overlap < 5
        assert before.end == pytest.approx(after.start) and after.start > before.start
        assert after.first / RATE < after.start < after.first / RATE + after.overlap
    assert windows[-1].end == pytest.approx(100, abs=0.02)


def test_without_overlap_nothing_is_heard_twice() -> None:
    samples = noise(70)
    windows = list(cut_windows(blocks(samples), LONGEST, loud(), overlap=False))
    assert len(windows) == 3 and not any(window.shared for window in windows)
    assert np.array_equal(np.concatenate([window.samples for window in windows]), samples)


def test_a_cut_in_speech_is_at_its_quietest() -> None:
    samples = noise(50)
    quiet = slice(int(29.7 * RATE), int(29.75 * RATE))
    samples[quiet] *= 0.3
    first = next(cut_windows(blocks(samples), LONGEST, loud()))
    assert quiet.start <= len(first.samples) <= quiet.stop


def test_silence_gives_no_windows() -> None:
    assert cut(silence(100)) == [] and cut(silence(0)) == []


def test_with_the_detector_of_everything_silence_is_heard_too() -> None:
    windows = list(cut_windows(blocks(silence(50)), LONGEST, everything))
    assert windows[0].first == 0
    assert windows[-1].first + len(windows[-1].samples) == 50 * RATE


def test_a_click_is_no_speech_and_neither_is_the_pause_within_a_word_a_pause() -> None:
    click = silence(2)
    click[RATE : RATE + 200] = 0.5
    assert cut_all(click) == []
    (window,) = cut(silence(1), noise(0.2), silence(0.09), noise(0.2), silence(1))
    assert window.end - window.start == pytest.approx(0.49, abs=0.05)


def cut_all(samples: np.ndarray) -> list[Window]:
    return list(cut_windows(blocks(samples), LONGEST, loud()))


@pytest.mark.parametrize("seconds", [0.1, 0.5, 29.9, 30, 30.5, 31])
def test_the_end_of_a_recording_is_heard(seconds: float) -> None:
    windows = cut(noise(seconds))
    assert windows[-1].first + len(windows[-1].samples) == int(seconds * RATE)
    assert windows[-1].end == pytest.approx(seconds, abs=0.02)


@pytest.mark.parametrize("longest", [1.0, 2.5, 10])
def test_models_and_users_that_want_shorter_windows(longest: float) -> None:
    windows = cut(noise(12), silence(3), noise(12), longest=int(longest * RATE))
    assert len(windows) >= 24 / longest


@pytest.mark.parametrize("seed", range(12))
def test_any_mixture(seed: int) -> None:
    """Speech and pauses of all lengths: nothing is lost, and order and lengths hold."""
    draw = np.random.default_rng(seed)
    parts = [
        part
        for _ in range(25)
        for part in (noise(draw.exponential(4) + 0.1), silence(draw.exponential(0.4)))
    ]
    windows = cut(*parts)
    for before, after in itertools.pairwise(windows):
        assert before.end <= after.start + 1e-6
        if not before.shared:
            assert before.first + len(before.samples) <= after.first


def test_a_long_silence_is_not_kept() -> None:
    from gemma4_mlx.speech.windows import WindowCutter

    cutter = WindowCutter(LONGEST, loud())
    for _ in range(200):
        assert cutter.add(silence(1)) == []
    assert len(cutter._sound) < 2 * RATE


def test_halves_share_nothing_and_lose_nothing() -> None:
    samples = noise(10)
    samples[int(4.5 * RATE) : int(4.6 * RATE)] = 0
    (window,) = cut(samples)
    first, second = halves(window)
    assert 4.5 < first.end < 4.6 and first.end == second.start
    assert np.array_equal(np.concatenate([first.samples, second.samples]), window.samples)
    assert second.first == window.first + len(first.samples)
    assert (first.start, second.end) == (window.start, window.end)
