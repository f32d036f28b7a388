"""Which tensors are quantized, and how: one rule per group of tensors.

| group | what happens |
|---|---|
| decoder projections, MLPs, experts, the tied embedding, the per-layer embedding table | as asked |
| the experts' router | always 8 bits: it only chooses, and a wrong choice costs a whole expert |
| towers and projectors | kept: they are small, and low bits are heard and seen |
| norms, scalars, clip bounds, convolutions | kept: no matrices |

A matrix whose width is no multiple of the group size is quantized in groups of 32, or kept where
32 does not divide it either. mlx-vlm's conversions follow the same rules, except that they
quantize the audio projector.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gemma4_mlx.errors import InputError

AFFINE_BITS = (2, 3, 4, 5, 6, 8)
AFFINE_GROUPS = (32, 64, 128)
# The other modes have one size each: mode → (bits, group size).
FIXED_MODES: Mapping[str, tuple[int, int]] = {
    "mxfp4": (4, 32),
    "mxfp8": (8, 32),
    "nvfp4": (4, 16),
}
SMALLEST_FALLBACK = 32
ROUTER_BITS = 8


@dataclass(frozen=True)
class Quantization:
    """How a matrix is packed: ``bits`` per weight, one scale per ``group_size`` weights."""

    bits: int
    group_size: int
    mode: str = "affine"

    def __post_init__(self) -> None:
        """Raise InputError for a combination that MLX cannot pack."""
        if self.mode in FIXED_MODES:
            if (self.bits, self.group_size) != FIXED_MODES[self.mode]:
                bits, group = FIXED_MODES[self.mode]
                raise InputError(
                    f"{self.mode} with {self.bits} bits in groups of {self.group_size}: "
                    f"it always has {bits} bits in groups of {group}, so ask for these"
                )
        elif self.mode != "affine":
            known = ", ".join(("affine", *FIXED_MODES))
            raise InputError(f"quantization mode {self.mode!r} is unknown, use one of {known}")
        elif self.bits not in AFFINE_BITS or self.group_size not in AFFINE_GROUPS:
            raise InputError(
                f"{self.bits} bits in groups of {self.group_size}: MLX packs "
                f"{AFFINE_BITS} bits in groups of {AFFINE_GROUPS}"
            )

    def as_config(self) -> dict[str, Any]:
        """The dict that stands under ``quantization`` in config.json."""
        return asdict(self)


def is_matrix(name: str, shape: Sequence[int]) -> bool:
    """Whether a tensor of our naming is one that conversions may quantize."""
    return name.startswith("language_model.") and name.endswith(".weight") and len(shape) >= 2


def quantization_of(
    name: str, shape: Sequence[int], asked: Quantization | None
) -> Quantization | None:
    """How this tensor is packed, or None when it is kept. Width is the last axis of ``shape``."""
    if asked is None or not is_matrix(name, shape):
        return None
    wanted = asked
    if name.endswith("router.proj.weight"):
        group = asked.group_size if asked.mode == "affine" else 64
        wanted = Quantization(ROUTER_BITS, group)
    width = shape[-1]
    if width % wanted.group_size == 0:
        return wanted
    if wanted.mode == "affine" and width % SMALLEST_FALLBACK == 0:
        return Quantization(wanted.bits, SMALLEST_FALLBACK)
    return None
