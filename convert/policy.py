"""How a matrix is packed: bits, group size and mode, and what to do where its width does not suit.

MLX packs the numbers along a matrix's last axis in groups that share a scale. A width that is no
multiple of the group size takes the largest smaller group that divides it, down to 32; where none
does, the matrix is kept as it is. The other modes than ``affine`` have one group size each, and
nvfp4 wants its groups of 16 by twos.
"""

from collections.abc import Mapping
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
MODES = ("affine", *FIXED_MODES)
DEFAULT_BITS, DEFAULT_GROUP = 4, 64


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
            raise InputError(
                f"quantization mode {self.mode!r} is unknown, use one of {', '.join(MODES)}"
            )
        elif self.bits not in AFFINE_BITS or self.group_size not in AFFINE_GROUPS:
            raise InputError(
                f"{self.bits} bits in groups of {self.group_size}: MLX packs "
                f"{AFFINE_BITS} bits in groups of {AFFINE_GROUPS}"
            )

    @classmethod
    def asked(
        cls, bits: int | None = None, group_size: int | None = None, mode: str = "affine"
    ) -> "Quantization":
        """With what was left out filled in: by the mode where it implies it, else 4 bits, 64.

        Raises InputError for a combination that MLX cannot pack.
        """
        default_bits, default_group = FIXED_MODES.get(mode, (DEFAULT_BITS, DEFAULT_GROUP))
        return cls(
            default_bits if bits is None else bits,
            default_group if group_size is None else group_size,
            mode,
        )

    @property
    def bits_per_weight(self) -> float:
        """Of a packed matrix, its scales included where they are 16 bits wide."""
        # affine: a scale and a bias of 16 bits each; the others: a scale of 8 bits.
        return self.bits + (32 if self.mode == "affine" else 8) / self.group_size

    @property
    def divisor(self) -> int:
        """What the width of a matrix that is packed so must be a multiple of."""
        # MLX's CPU backend packs and unpacks 32 numbers at once: an odd number of nvfp4's groups
        # fails there, when it is packed or when an odd number of rows is looked up.
        return max(self.group_size, 32)

    def __str__(self) -> str:
        """As the plan shows it: ``4 bits, groups of 64``."""
        mode = "" if self.mode == "affine" else f"{self.mode}, "
        return f"{mode}{self.bits} bits, groups of {self.group_size}"

    def as_config(self) -> dict[str, Any]:
        """The dict that stands under ``quantization`` in config.json."""
        return asdict(self)


def fitted(width: int, asked: Quantization, *, smaller_groups: bool = True) -> Quantization | None:
    """How a matrix of this width can be packed, or None when it has to be kept.

    ``smaller_groups`` False keeps every matrix whose width does not suit what is asked.
    """
    if width % asked.divisor == 0:
        return asked
    if asked.mode == "affine" and smaller_groups:
        for group in reversed(AFFINE_GROUPS):
            if group < asked.group_size and width % group == 0:
                return Quantization(asked.bits, group)
    return None
