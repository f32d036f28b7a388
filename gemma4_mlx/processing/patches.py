"""A picture as patches: resized to a token budget with its aspect ratio kept, cut into squares.

The tower pools 3×3 patches of 16 pixels into one soft token, so both sides become multiples of
48 pixels, as large as the budget of tokens allows. Pixels stay in [0, 1]; the model itself maps
them to [−1, 1]. Positions are (x, y) patch coordinates, −1 where the batch is padded.

Source: transformers' ``Gemma4ImageProcessorPil``, equal to the last bit on the same RGB pixels.
"""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from gemma4_mlx.processing.settings import ImageSettings


def target_size(height: int, width: int, settings: ImageSettings) -> tuple[int, int]:
    """The (height, width) in pixels that a picture is resized to.

    Every shape has one: the reference's refusals need a budget below one token. A picture too
    thin for a token across gets one all the same, and is then squeezed lengthwise.

    >>> target_size(480, 640, ImageSettings())
    (672, 912)
    """
    side = settings.pooling_kernel_size * settings.patch_size
    factor = math.sqrt(settings.max_soft_tokens * side**2 / (height * width))
    rows = math.floor(factor * height / side)
    columns = math.floor(factor * width / side)
    if rows == 0:
        rows, columns = 1, min(width // height, settings.max_soft_tokens)
    elif columns == 0:
        rows, columns = min(height // width, settings.max_soft_tokens), 1
    return rows * side, columns * side


def patchify(image: Image.Image, settings: ImageSettings) -> np.ndarray:
    """Resize an RGB picture and cut it into patches (rows, columns, 3·patch²), float32.

    Within a patch the numbers run over its rows, its columns, then red, green, blue.
    """
    height, width = target_size(image.height, image.width, settings)
    if (height, width) != (image.height, image.width):
        image = image.resize((width, height), resample=Image.Resampling(settings.resample))
    # The reference multiplies in float64 and rounds once.
    pixels = (np.asarray(image).astype(np.float64) * settings.rescale_factor).astype(np.float32)
    if any(settings.mean) or any(value != 1 for value in settings.std):
        mean, std = (np.array(v, dtype=np.float32) for v in (settings.mean, settings.std))
        pixels = (pixels - mean) / std
    size = settings.patch_size
    grid = pixels.reshape(height // size, size, width // size, size, 3).transpose(0, 2, 1, 3, 4)
    return grid.reshape(height // size, width // size, size * size * 3)


def soft_tokens(patches: np.ndarray, settings: ImageSettings) -> int:
    """How many tokens the vision tower makes of patches (rows, columns, …)."""
    return patches.shape[0] * patches.shape[1] // settings.pooling_kernel_size**2


def pad_patches(
    images: Sequence[np.ndarray], settings: ImageSettings
) -> tuple[np.ndarray, np.ndarray]:
    """Stack pictures of patches (rows, columns, 3·patch²) into one padded batch.

    Returns pixel values (N, P, 3·patch²) float32 with zeros, and positions (N, P, 2) int32 with
    −1, where pictures have fewer than P patches: P is the budget times 9.
    """
    max_patches = settings.max_soft_tokens * settings.pooling_kernel_size**2
    pixels = np.zeros((len(images), max_patches, images[0].shape[-1]), dtype=np.float32)
    positions = np.full((len(images), max_patches, 2), -1, dtype=np.int32)
    for index, image in enumerate(images):
        rows, columns, dims = image.shape
        count = rows * columns
        x, y = np.meshgrid(np.arange(columns), np.arange(rows), indexing="xy")
        pixels[index, :count] = image.reshape(count, dims)
        positions[index, :count] = np.stack([x, y], axis=-1).reshape(count, 2)
    return pixels, positions
