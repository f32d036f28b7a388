"""Rotary position embedding for a plane: half of a head turns by x, the other half by y.

A patch of an image has two coordinates, so the head is cut in two halves of D/2 numbers. Each
half is an ordinary rotary embedding of its own: number i pairs with number i + D/4 of the same
half, and the pair turns by ``coordinate · theta^(−2i / (D/2))``. The product of a turned query
and a turned key then depends on the offset (Δx, Δy) between the patches alone. Gemma 4 uses
theta 100: images are tens of patches wide, not thousands of tokens long.

Angles and the turning are float32 whatever the dtype of the activations: in bfloat16 the
coordinates 256 and 257 are the same number.
"""

import mlx.core as mx


def rope_2d_angles(
    position_ids: mx.array, head_dim: int, theta: float
) -> tuple[mx.array, mx.array]:
    """Cosine and sine of every pair's angle, each (B, L, 1, 2, D/4) float32.

    ``position_ids`` is (B, L, 2) with (x, y) per patch. Shared by all heads and all layers.
    """
    half = head_dim // 2
    frequencies = theta ** (-mx.arange(0, half, 2, dtype=mx.float32) / half)
    angles = position_ids.astype(mx.float32)[:, :, None, :, None] * frequencies
    return mx.cos(angles), mx.sin(angles)


def rotate_2d(x: mx.array, cos: mx.array, sin: mx.array) -> mx.array:
    """Turn queries or keys (B, L, H, D) by the angles of ``rope_2d_angles``."""
    # (…, coordinate, member of the pair, pair)
    pairs = x.astype(mx.float32).reshape(*x.shape[:-1], 2, 2, x.shape[-1] // 4)
    first, second = pairs[..., 0, :], pairs[..., 1, :]
    turned = mx.stack([first * cos - second * sin, second * cos + first * sin], axis=-2)
    return turned.reshape(x.shape).astype(x.dtype)
