"""One decoding step as few calls as possible: the same layers, fused for a single new token."""

from gemma4_mlx.text.fused.linear import Unsupported
from gemma4_mlx.text.fused.step import FusedStep

__all__ = ["FusedStep", "Unsupported"]
