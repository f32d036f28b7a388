"""Pixels to vectors: one linear map per 16 × 16 patch, plus a learned position for x and for y.

There is no convolution and no mean or deviation to normalise by: pixels in [0, 1] are stretched
to [−1, 1] here, inside the model. The position is the sum of two table rows, one for the column
and one for the row of the patch, so one table serves every aspect ratio.
"""

import mlx.core as mx
import mlx.nn as nn

from gemma4_mlx.config import VisionConfig


class PatchEmbedder(nn.Module):
    """Patches (N, P, 3·patch²) in [0, 1] at ``position_ids`` (N, P, 2) → (N, P, hidden)."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.input_proj = nn.Linear(3 * config.patch_size**2, config.hidden_size, bias=False)
        # Row 0 of the first axis holds the x positions, row 1 the y positions.
        self.position_embedding_table = mx.zeros(
            (2, config.position_embedding_size, config.hidden_size)
        )

    def __call__(self, pixel_values: mx.array, position_ids: mx.array) -> mx.array:
        pixels = 2 * (pixel_values - 0.5)
        patches = self.input_proj(pixels.astype(self.position_embedding_table.dtype))
        return patches + self._positions(position_ids)

    def _positions(self, position_ids: mx.array) -> mx.array:
        # Padding sits at −1, which is no row of the table: read row 0 and drop it.
        rows = mx.maximum(position_ids, 0)
        table_x, table_y = self.position_embedding_table
        positions = table_x[rows[..., 0]] + table_y[rows[..., 1]]
        is_padding = mx.all(position_ids == -1, axis=-1, keepdims=True)
        return mx.where(is_padding, 0, positions)
