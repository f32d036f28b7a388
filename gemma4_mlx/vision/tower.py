"""The vision tower: images as patches in, soft tokens for the text model out.

Two shapes exist. E2B and E4B share a small tower with clipped linears; 26B and 31B share a big
one without bounds, whose tokens are standardized at the end by two learned vectors. Both yield
at most ``budget`` tokens an image (70 to 1120), as many as the grid of its aspect ratio has.
"""

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from gemma4_mlx.config import VisionConfig
from gemma4_mlx.errors import InputError
from gemma4_mlx.vision.encoder import VisionEncoder
from gemma4_mlx.vision.patch_embedder import PatchEmbedder
from gemma4_mlx.vision.patch_grid import PatchGrid, read_patch_grids
from gemma4_mlx.vision.pooler import pool_patches, standardize

# Images are independent, so a long batch is cut into groups of about so many patches: the frames
# of a video would otherwise need gigabytes for activations at once.
_PATCHES_AT_ONCE = 4_096


class VisionTower(nn.Module):
    """Images → soft tokens (see ``__call__``). Tokens are not yet projected to the text model."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embedder = PatchEmbedder(config)
        self.encoder = VisionEncoder(config)
        if config.standardize:
            self.std_bias = mx.zeros((config.hidden_size,))
            self.std_scale = mx.ones((config.hidden_size,))

    def __call__(self, pixel_values: mx.array, position_ids: mx.array) -> list[mx.array]:
        """Encode N images of any aspect ratios.

        ``pixel_values`` is (N, P, 3·patch²) in [0, 1], ``position_ids`` (N, P, 2) with (x, y) per
        patch and (−1, −1) for padding. Returns one (tokens, hidden) per image, without padding,
        in the dtype of the weights. Nothing but ``position_ids`` is evaluated.
        Raises InputError for shapes or positions that do not fit the model.
        """
        self._check(pixel_values, position_ids)
        grids = read_patch_grids(
            np.array(position_ids),
            self.config.pooling_kernel_size,
            self.config.position_embedding_size,
        )
        step = max(1, _PATCHES_AT_ONCE // pixel_values.shape[1])
        tokens: list[mx.array] = []
        for start in range(0, len(grids), step):
            group = slice(start, start + step)
            pixels = pixel_values[group]
            if tokens:  # one group after the other, or MLX holds what several compute
                (pixels,) = mx.depends([pixels], [tokens[-1]])
            tokens += self._encode(pixels, position_ids[group], grids[group])
        return tokens

    def _encode(
        self, pixel_values: mx.array, position_ids: mx.array, grids: list[PatchGrid]
    ) -> list[mx.array]:
        # 1. Drop padding that every image of the group has; a single image then needs no mask.
        used = max(int(grid.order.max()) + 1 for grid in grids)
        pixel_values, position_ids = pixel_values[:, :used], position_ids[:, :used]
        padded = any(grid.order.size < used for grid in grids)
        mask = mx.any(position_ids != -1, axis=-1) if padded else None

        # 2. Patches to vectors, vectors through the transformer.
        patches = self.patch_embedder(pixel_values, position_ids)
        encoded = self.encoder(patches, position_ids, mask)

        # 3. Pool each image by its own grid, in float32 until the very end.
        tokens = [
            pool_patches(image, grid, self.config.pooling_kernel_size)
            for image, grid in zip(encoded, grids, strict=True)
        ]
        if self.config.standardize:
            tokens = [standardize(image, self.std_bias, self.std_scale) for image in tokens]
        return [image.astype(patches.dtype) for image in tokens]

    def _check(self, pixel_values: mx.array, position_ids: mx.array) -> None:
        width = 3 * self.config.patch_size**2
        if pixel_values.ndim != 3 or pixel_values.shape[-1] != width:
            raise InputError(
                f"pixel_values has shape {pixel_values.shape}, expected (images, patches, {width})"
                "; pass what the image processor of this model gives"
            )
        if position_ids.shape != (*pixel_values.shape[:2], 2):
            raise InputError(
                f"image_position_ids has shape {position_ids.shape}, expected "
                f"{(*pixel_values.shape[:2], 2)} to match pixel_values; pass both from one "
                "processor call"
            )
