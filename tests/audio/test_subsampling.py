"""Four mel frames become one, and the end of a clip is silence whatever lies behind it."""

from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from gemma4_mlx.audio import AudioTower
from gemma4_mlx.audio.subsampling import Subsampling
from gemma4_mlx.errors import InputError
from tests.audio.tiny_towers import FRAMES, MELS, RELEASED, make_clips, to_torch
from tests.vision.tower_weights import largest_difference, randomize


def test_equals_transformers(tower: AudioTower, reference: Any) -> None:
    torch = pytest.importorskip("torch", reason="the comparison with transformers needs torch")
    features, mask = make_clips(FRAMES)
    with torch.no_grad():
        theirs, their_mask = reference.subsample_conv_projection(*to_torch(features, mask))
    ours, our_mask = tower.subsample_conv_projection(features, mask)
    assert largest_difference([ours], [theirs]) <= 1e-5
    assert np.array_equal(np.array(our_mask), their_mask.numpy())


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5, 8, 9])
def test_a_clip_sounds_the_same_in_a_longer_batch(frames: int) -> None:
    subsampling = Subsampling(RELEASED)
    randomize(subsampling)
    features, mask = make_clips([frames], length=20)
    padded, valid = subsampling(features, mask)
    alone, _ = subsampling(features[:, :frames], mask[:, :frames])
    tokens = -(-frames // 4)
    assert alone.shape[1] == tokens
    assert valid.sum().item() == tokens
    assert largest_difference([padded[:, :tokens]], [alone]) <= 1e-5


def test_other_mel_bins_are_refused() -> None:
    with pytest.raises(InputError, match=f"has 24 mel bins, expected {MELS}"):
        Subsampling(RELEASED)(mx.zeros((1, 8, 24)), mx.ones((1, 8), dtype=mx.bool_))
