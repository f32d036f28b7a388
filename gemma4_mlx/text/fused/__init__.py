"""One decoding step as few calls as possible: the same layers, fused for a single new token."""

from gemma4_mlx.text.fused.compiling import can_compile, steps_before_compiling
from gemma4_mlx.text.fused.contents import Contents
from gemma4_mlx.text.fused.step import Beginning, FusedStep

__all__ = ["Beginning", "Contents", "FusedStep", "can_compile", "steps_before_compiling"]
