"""The whole audio tower against transformers, and what must not change a clip's tokens."""

from typing import Any

import mlx.core as mx
import pytest

from gemma4_mlx.audio import AudioTower
from gemma4_mlx.errors import InputError
from tests.audio.tiny_towers import FRAMES, MELS, RELEASED, make_clips, to_torch
from tests.vision.tower_weights import largest_difference, randomize


def reference_tokens(model: Any, features: mx.array, mask: mx.array) -> list[Any]:
    """transformers' tokens per clip, without padding."""
    import torch

    with torch.no_grad():
        output = model(*to_torch(features, mask))
    clips = zip(output.last_hidden_state, output.attention_mask, strict=True)
    return [clip[valid] for clip, valid in clips]


@pytest.mark.parametrize("frames", [FRAMES, [96], [97], [3], [1], [200, 200]])
def test_equals_transformers(tower: AudioTower, reference: Any, frames: list[int]) -> None:
    features, mask = make_clips(frames)
    ours = tower(features, mask)
    assert [len(clip) for clip in ours] == [-(-count // 4) for count in frames]
    assert largest_difference(ours, reference_tokens(reference, features, mask)) <= 1e-4


def test_clip_bounds_matter() -> None:
    tower = AudioTower(RELEASED)
    randomize(tower)
    features, mask = make_clips([60])
    [clipped] = tower(features, mask)
    for layer in tower.layers:
        layer.self_attn.post.output_max = mx.array(1e9)
    [wider] = tower(features, mask)
    assert mx.abs(clipped - wider).max().item() > 1e-3


def test_padding_and_company_change_nothing(tower: AudioTower) -> None:
    features, mask = make_clips(FRAMES, length=230)
    together = tower(features, mask)
    for index, count in enumerate(FRAMES):
        [alone] = tower(features[index : index + 1, :count], mask[index : index + 1, :count])
        assert largest_difference([alone], [together[index]]) <= 1e-5


def test_the_released_tower_does_not_hear_the_future() -> None:
    tower = AudioTower(RELEASED)
    randomize(tower)
    features, mask = make_clips([120])
    [before] = tower(features, mask)
    # A token sees mel frames up to 4·t + 3: the convolutions reach that far and no further.
    features[:, 64:] += 3.0
    [after] = tower(features, mask)
    assert largest_difference([before[:16]], [after[:16]]) <= 1e-5
    assert mx.abs(before[16] - after[16]).max().item() > 1e-3


def test_a_clip_without_frames_has_no_tokens() -> None:
    tower = AudioTower(RELEASED)
    randomize(tower)
    silent, spoken = tower(*make_clips([0, 30]))
    assert silent.shape == (0, RELEASED.output_proj_dims)
    assert mx.isfinite(spoken).all().item()


def test_bfloat16_is_close_and_stays_bfloat16() -> None:
    tower = AudioTower(RELEASED)
    randomize(tower)
    features, mask = make_clips(FRAMES)
    exact = tower(features, mask)
    tower.set_dtype(mx.bfloat16)
    for ours, full in zip(tower(features, mask), exact, strict=True):
        assert ours.dtype == mx.bfloat16
        error = mx.abs(ours.astype(mx.float32) - full).mean() / mx.abs(full).mean()
        assert error.item() < 0.05


@pytest.mark.parametrize(
    ("features", "mask", "complaint"),
    [
        ((8, MELS), (8,), "expected (clips, frames, mel bins)"),
        ((1, 0, MELS), (1, 0), "at least one frame"),
        ((1, 8, MELS), (1, 9), "expected (1, 8)"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(
    features: tuple[int, ...], mask: tuple[int, ...], complaint: str
) -> None:
    with pytest.raises(InputError) as refusal:
        AudioTower(RELEASED)(mx.zeros(features), mx.ones(mask, dtype=mx.bool_))
    assert complaint in str(refusal.value)
