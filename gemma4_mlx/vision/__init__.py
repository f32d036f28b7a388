"""How Gemma 4 sees: patches → encoder → pooled soft tokens.

Read in this order: ``patch_grid`` (where the patches lie), ``patch_embedder`` (pixels to
vectors), ``encoder`` (the transformer), ``pooler`` (patches to tokens), ``tower`` (all of it).
"""

from gemma4_mlx.vision.tower import VisionTower

__all__ = ["VisionTower"]
