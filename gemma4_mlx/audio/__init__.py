"""How Gemma 4 hears: mel frames → subsampling → conformer → soft tokens.

Read in this order: ``subsampling`` (10 ms frames to 40 ms frames), ``blocks`` (which frames see
each other), ``relative_attention``, ``conformer`` (the layer), ``tower`` (all of it).
"""

from gemma4_mlx.audio.tower import AudioTower

__all__ = ["AudioTower"]
