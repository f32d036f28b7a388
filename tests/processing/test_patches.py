from typing import Any

import numpy as np
import pytest
from PIL import Image

from gemma4_mlx.processing.patches import pad_patches, patchify, soft_tokens, target_size
from gemma4_mlx.processing.settings import SOFT_TOKEN_BUDGETS, ImageSettings
from tests.processing import transformers_side

SIZES = [(480, 640), (1, 1), (33, 2000), (1000, 48), (3024, 4032), (768, 768), (47, 49), (5, 300)]


def picture(height: int, width: int) -> Image.Image:
    return Image.fromarray(np.random.randint(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("budget", SOFT_TOKEN_BUDGETS)
@pytest.mark.parametrize("size", SIZES[:-1])
def test_sizes_stay_in_the_budget(size: tuple[int, int], budget: int) -> None:
    height, width = target_size(*size, ImageSettings(max_soft_tokens=budget))
    assert height % 48 == width % 48 == 0
    assert 0 < height * width // 48**2 <= budget


def test_known_sizes() -> None:
    assert target_size(480, 640, ImageSettings()) == (672, 912)
    assert target_size(768, 768, ImageSettings()) == (768, 768)
    assert target_size(1, 100_000, ImageSettings()) == (48, 48 * 280)


@pytest.mark.parametrize("budget", SOFT_TOKEN_BUDGETS)
@pytest.mark.parametrize("size", SIZES)
def test_patches_equal_the_reference(size: tuple[int, int], budget: int) -> None:
    transformers_side.require()
    if size[0] * size[1] > 10**6 and budget < 1120:
        size = (size[0] // 4, size[1] // 4)  # the large one once is enough
    image, settings = picture(*size), ImageSettings(max_soft_tokens=budget)
    reference = transformers_side.image_processor(max_soft_tokens=budget)
    expected: dict[str, Any] = reference(image, return_tensors="np")
    patches = patchify(image, settings)
    pixels, positions = pad_patches([patches], settings)
    np.testing.assert_array_equal(pixels, expected["pixel_values"])
    np.testing.assert_array_equal(positions, expected["image_position_ids"])
    assert [soft_tokens(patches, settings)] == list(expected["num_soft_tokens_per_image"])


def test_a_batch_of_unequal_pictures() -> None:
    transformers_side.require()
    images = [picture(100, 300), picture(300, 100), picture(200, 200)]
    settings = ImageSettings(max_soft_tokens=70)
    expected = transformers_side.image_processor(max_soft_tokens=70)(images, return_tensors="np")
    pixels, positions = pad_patches([patchify(image, settings) for image in images], settings)
    np.testing.assert_array_equal(pixels, expected["pixel_values"])
    np.testing.assert_array_equal(positions, expected["image_position_ids"])


def test_target_sizes_equal_the_reference_everywhere() -> None:
    transformers_side.require()
    from transformers.models.gemma4 import image_processing_pil_gemma4 as reference

    settings = ImageSettings(max_soft_tokens=70)
    for _ in range(3000):
        height, width = (int(10 ** np.random.uniform(0, 4.5)) for _ in range(2))
        expected = reference.get_aspect_ratio_preserving_size(height, width, 16, 630, 3)
        assert target_size(height, width, settings) == expected


def test_order_within_and_among_patches() -> None:
    """Patches run over columns first; within one: rows, columns, colours."""
    pixels = np.zeros((48, 96, 3), dtype=np.uint8)
    pixels[0, 17, 2] = 255  # patch (x 1, y 0), its row 0, column 1, blue
    pixels[16, 0, 0] = 255  # patch (x 0, y 1), its row 0, column 0, red
    # 70 tokens in a row: the size the budget asks for, so nothing is resampled.
    wide = np.tile(pixels, (1, 35, 1))
    wide[:, 96:] = 0
    settings = ImageSettings(max_soft_tokens=70)
    assert target_size(48, 48 * 70, settings) == (48, 48 * 70)
    patches = patchify(Image.fromarray(wide), settings)
    assert patches.shape == (3, 210, 768)
    assert np.flatnonzero(patches[0, 1]).tolist() == [1 * 3 + 2]
    assert np.flatnonzero(patches[1, 0]).tolist() == [0]
    assert np.count_nonzero(patches) == 2
    _, positions = pad_patches([patches], settings)
    assert positions[0, [0, 1, 210, 629]].tolist() == [[0, 0], [1, 0], [0, 1], [209, 2]]


def test_padding() -> None:
    settings = ImageSettings(max_soft_tokens=70)
    patches = patchify(picture(100, 100), settings)  # 8 × 8 tokens of 70
    pixels, positions = pad_patches([patches], settings)
    assert pixels.shape == (1, 630, 768)
    assert (positions[0, :576] >= 0).all()
    assert (positions[0, 576:] == -1).all()
    assert not pixels[0, 576:].any()


def test_normalization_when_asked_for() -> None:
    settings = ImageSettings(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    image = picture(48, 48)
    plain = patchify(image, ImageSettings())
    assert plain.min() >= 0
    assert plain.max() <= 1
    np.testing.assert_allclose(patchify(image, settings), 2 * plain - 1, atol=1e-6)
