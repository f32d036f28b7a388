"""Mel features for a batch of waveforms, as `Gemma4AudioFeatureExtractor` computes them.

The reference works in float64, one waveform at a time; this is the same arithmetic in float32,
fast enough to run inside a training step (the largest difference seen was 1e-6).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from transformers import Gemma4AudioFeatureExtractor

from config import MEL_BINS

_REFERENCE = Gemma4AudioFeatureExtractor(feature_size=MEL_BINS)
_WINDOW = torch.tensor(_REFERENCE.window)
_FILTERS = torch.tensor(_REFERENCE.mel_filters, dtype=torch.float32)
_HOP = _REFERENCE.hop_length
_FRAME = _REFERENCE.frame_length


def frames(samples: int) -> int:
    """Mel frames of a waveform; the reference unfolds one sample more than a frame."""
    return (samples + _FRAME // 2 - (_FRAME + 1)) // _HOP + 1


def tokens(samples: int) -> int:
    """Audio tokens of a waveform: two convolutions of stride 2 over its mel frames."""
    count = frames(samples)
    for _ in range(2):
        count = (count + 2 - 3) // 2 + 1
    return count


def log_mel(samples: np.ndarray) -> torch.Tensor:
    """(frames, mel bins) of one waveform."""
    wave = torch.nn.functional.pad(torch.from_numpy(samples), (_FRAME // 2, 0))
    windows = wave.unfold(0, _FRAME, _HOP)[: frames(len(samples))]
    magnitude = torch.fft.rfft(windows * _WINDOW, n=_REFERENCE.fft_length).abs()
    return torch.log(magnitude @ _FILTERS + float(_REFERENCE.mel_floor))


def batch(waves: Sequence[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    """Features (B, frames, bins), zero where padded, and their mask (B, frames)."""
    mels = [log_mel(wave) for wave in waves]
    features = torch.nn.utils.rnn.pad_sequence(mels, batch_first=True)
    lengths = torch.tensor([len(mel) for mel in mels])
    return features, torch.arange(features.shape[1])[None] < lengths[:, None]
