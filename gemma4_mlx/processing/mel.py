"""Log-mel features of a waveform, as the audio tower reads them.

Frames of 20 ms every 10 ms. Half a frame of zeros goes before the first sample, so that the first
frame is centred at t = 0 and no later sound is needed (semicausal). Each frame: periodic Hann
window, magnitude spectrum, triangular HTK mel filters, log(mel + 0.001).

Source: transformers' ``Gemma4AudioFeatureExtractor``, equal to 1e-5 and better. It cuts recordings
at 30 s in silence; here the caller counts first (``audio_token_count``) and refuses.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from gemma4_mlx.processing.settings import MelSettings

RELEASED = MelSettings()

# Clips of a batch are padded to the longest, rounded up to this many samples.
_PAD_MULTIPLE = 128


def mel_frame_count(num_samples: int, settings: MelSettings = RELEASED) -> int:
    """How many frames of a recording of ``num_samples`` lie wholly inside it."""
    # A frame is unfolded with one sample more than it uses.
    inside = num_samples + settings.frame_length // 2 - (settings.frame_length + 1)
    return max(inside // settings.hop_length + 1, 0)


def audio_token_count(num_samples: int, settings: MelSettings = RELEASED) -> int:
    """Soft tokens of a recording: two convolutions of stride 2 each halve its frames.

    >>> [audio_token_count(round(s * 16000)) for s in (10.069, 10.965, 30)]
    [252, 274, 750]
    """
    frames = mel_frame_count(num_samples, settings)
    return ((frames + 1) // 2 + 1) // 2


def log_mel(samples: np.ndarray, settings: MelSettings = RELEASED) -> np.ndarray:
    """Features (frames, mels) float32 of samples (n,) in [−1, 1]."""
    # 1. Semicausal padding, then overlapping frames.
    wave = samples.astype(np.float32, copy=False)
    if settings.input_scale_factor != 1:
        wave = wave * np.float32(settings.input_scale_factor)
    wave = np.pad(wave, (settings.frame_length // 2, 0))
    count = mel_frame_count(len(samples), settings)
    if count == 0:
        return np.zeros((0, settings.feature_size), dtype=np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(wave, settings.frame_length)
    frames = frames[:: settings.hop_length][:count]
    # 2. Window and magnitude spectrum.
    turns = np.arange(settings.frame_length) / settings.frame_length
    window = (0.5 - 0.5 * np.cos(2 * np.pi * turns)).astype(np.float32)
    magnitude = np.abs(np.fft.rfft(frames * window, n=settings.fft_length, axis=-1))
    # 3. Mel filters and logarithm.
    features = np.log(magnitude @ mel_filters(settings) + settings.mel_floor)
    if settings.per_bin_mean is not None:
        features = features - np.array(settings.per_bin_mean)
    if settings.per_bin_stddev is not None:
        features = features / np.array(settings.per_bin_stddev)
    return features.astype(np.float32)


def log_mel_batch(
    clips: Sequence[np.ndarray], settings: MelSettings = RELEASED
) -> tuple[np.ndarray, np.ndarray]:
    """Features of several recordings, padded on the right to the longest.

    Returns (N, T, mels) float32, zero where padded, and the mask (N, T), True at real frames.
    T counts the frames of the longest clip after its samples are rounded up to a multiple of 128.
    """
    longest = max(len(clip) for clip in clips)
    total = mel_frame_count(-(-longest // _PAD_MULTIPLE) * _PAD_MULTIPLE, settings)
    features = np.zeros((len(clips), total, settings.feature_size), dtype=np.float32)
    mask = np.zeros((len(clips), total), dtype=bool)
    for index, clip in enumerate(clips):
        real = log_mel(clip, settings)
        features[index, : len(real)] = real
        mask[index, : len(real)] = True
    return features, mask


@lru_cache(maxsize=4)
def mel_filters(settings: MelSettings = RELEASED) -> np.ndarray:
    """Triangles evenly spaced on the HTK mel scale, as (frequency bins, mels) float64."""
    low, high = _hertz_to_mel(np.array([settings.min_frequency, settings.max_frequency]))
    corners = _mel_to_hertz(np.linspace(low, high, settings.feature_size + 2))
    bins = np.linspace(0, settings.sampling_rate // 2, settings.fft_length // 2 + 1)
    distance = corners[None, :] - bins[:, None]
    width = np.diff(corners)
    rising = -distance[:, :-2] / width[:-1]
    falling = distance[:, 2:] / width[1:]
    return np.maximum(0.0, np.minimum(rising, falling))


def _hertz_to_mel(hertz: np.ndarray) -> np.ndarray:
    return 2595.0 * np.log10(1.0 + hertz / 700.0)


def _mel_to_hertz(mels: np.ndarray) -> np.ndarray:
    return 700.0 * (10.0 ** (mels / 2595.0) - 1.0)
