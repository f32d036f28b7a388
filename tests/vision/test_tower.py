"""The whole vision tower against transformers, and what must not change an image's tokens."""

from dataclasses import replace
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from gemma4_mlx.config import VisionConfig
from gemma4_mlx.errors import InputError
from gemma4_mlx.vision import VisionTower
from gemma4_mlx.vision import tower as tower_module
from tests.vision.tiny_towers import BIG, SMALL, MakePictures, make_pictures, reference_tower
from tests.vision.tower_weights import largest_difference, randomize

# Sides in tokens; odd aspect ratios, and no two images with the same number of tokens.
GRIDS = [(3, 2), (1, 9), (4, 1), (1, 1), (7, 2)]
LENGTH = 16 * 9


def reference_tokens(model: Any, pixels: mx.array, positions: mx.array, kernel: int) -> list[Any]:
    """transformers' tokens, split per image."""
    import torch

    theirs_positions = torch.tensor(np.array(positions)).long()
    with torch.no_grad():
        tokens = model(torch.tensor(np.array(pixels)), theirs_positions).last_hidden_state
    counts = (theirs_positions != -1).all(dim=-1).sum(dim=-1) // kernel**2
    return list(torch.split(tokens, counts.tolist()))


def test_equals_transformers(
    config: VisionConfig, tower: VisionTower, reference: Any, pictures: MakePictures
) -> None:
    pixels, positions = pictures(GRIDS, LENGTH)
    theirs = reference_tokens(reference, pixels, positions, config.pooling_kernel_size)
    ours = tower(pixels, positions)
    assert [len(image) for image in ours] == [w * h for w, h in GRIDS]
    assert largest_difference(ours, theirs) <= 1e-4


@pytest.mark.parametrize(("budget", "grid"), [(70, (9, 7)), (280, (17, 16))])
@pytest.mark.parametrize("config", [SMALL, BIG], ids=["small", "big"])
def test_budgets_equal_transformers(
    config: VisionConfig, budget: int, grid: tuple[int, int]
) -> None:
    config = replace(config, num_hidden_layers=1)
    tower = VisionTower(config)
    randomize(tower)
    pixels, positions = make_pictures(config, [grid], length=9 * budget)
    theirs = reference_tokens(reference_tower(config, tower), pixels, positions, 3)
    assert largest_difference(tower(pixels, positions), theirs) <= 1e-4


def test_clip_bounds_matter() -> None:
    tower = VisionTower(SMALL)
    randomize(tower)
    pixels, positions = make_pictures(SMALL, [(2, 2)], length=36)
    [clipped] = tower(pixels, positions)
    for layer in tower.encoder.layers:
        layer.mlp.down_proj.input_max = mx.array(1e9)
    [wider] = tower(pixels, positions)
    assert mx.abs(clipped - wider).max().item() > 1e-3


def test_padding_and_company_change_nothing(
    config: VisionConfig, tower: VisionTower, pictures: MakePictures
) -> None:
    pixels, positions = pictures(GRIDS, LENGTH)
    together = tower(pixels, positions)
    for index, (wide, high) in enumerate(GRIDS):
        used = wide * high * config.pooling_kernel_size**2
        image = slice(index, index + 1)
        [alone] = tower(pixels[image, :used], positions[image, :used])
        assert largest_difference([alone], [together[index]]) <= 1e-4


def test_order_of_the_patches_changes_nothing(
    config: VisionConfig, tower: VisionTower, pictures: MakePictures
) -> None:
    pixels, positions = pictures(GRIDS, LENGTH)
    shuffle = mx.array(np.random.permutation(LENGTH))
    shuffled = tower(pixels[:, shuffle], positions[:, shuffle])
    assert largest_difference(shuffled, tower(pixels, positions)) <= 1e-4


def test_a_long_batch_is_encoded_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    tower = VisionTower(SMALL)
    randomize(tower)
    pixels, positions = make_pictures(SMALL, GRIDS, LENGTH)
    at_once = tower(pixels, positions)
    monkeypatch.setattr(tower_module, "_PATCHES_AT_ONCE", 2 * LENGTH)
    assert largest_difference(tower(pixels, positions), at_once) <= 1e-4


def test_bfloat16_is_close_and_stays_bfloat16(
    config: VisionConfig, tower: VisionTower, pictures: MakePictures
) -> None:
    pixels, positions = pictures(GRIDS, LENGTH)
    exact = tower(pixels, positions)
    tower.set_dtype(mx.bfloat16)
    for ours, full in zip(tower(pixels, positions), exact, strict=True):
        assert ours.dtype == mx.bfloat16
        error = mx.abs(ours.astype(mx.float32) - full).mean() / mx.abs(full).mean()
        assert error.item() < 0.05


@pytest.mark.parametrize(
    ("pixels", "positions", "complaint"),
    [
        ((1, 9, 47), (1, 9, 2), "expected (images, patches, 48)"),
        ((9, 48), (9, 2), "expected (images, patches, 48)"),
        ((1, 9, 48), (1, 18, 2), "expected (1, 9, 2)"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(
    pixels: tuple[int, ...], positions: tuple[int, ...], complaint: str
) -> None:
    with pytest.raises(InputError) as refusal:
        VisionTower(SMALL)(mx.zeros(pixels), mx.zeros(positions, dtype=mx.int32))
    assert complaint in str(refusal.value)


def test_a_position_outside_the_table_is_refused() -> None:
    pixels, positions = make_pictures(SMALL, [(22, 1)], length=198)  # 66 columns, the table has 64
    with pytest.raises(InputError, match="knows positions 0 to 63"):
        VisionTower(SMALL)(pixels, positions)
