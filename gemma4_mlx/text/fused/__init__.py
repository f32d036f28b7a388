"""One decoding step as few calls as possible: the same layers, fused for a single new token."""

from gemma4_mlx.text.fused.linear import Unsupported
from gemma4_mlx.text.fused.step import Beginning, FusedStep

__all__ = ["Beginning", "FusedStep", "Unsupported"]
