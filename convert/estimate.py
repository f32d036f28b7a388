"""What the files of a model hold, where only its config.json is at hand.

Exact for models that are not packed. Where config.json tells of quantization this is an estimate:
which tensors are packed, only the files tell; assumed are the decoder's matrices, as most
conversions do, and what config.json names module by module.
"""

import math
from collections.abc import Mapping
from typing import Any

from gemma4_convert.groups import UNPACKED, group_of
from gemma4_convert.inventory import Inventory, Stored, packing_name
from gemma4_convert.policy import FIXED_MODES
from gemma4_convert.recipe import DTYPES
from gemma4_mlx.config import Gemma4Config
from gemma4_mlx.loading.dtypes import STORED_DTYPES
from gemma4_mlx.loading.rename import module_path
from gemma4_mlx.tensor_shapes import Shape, borrowed_shapes, tensor_shapes

# Groups that are packed only if named.
_KEPT = ("vision", "audio", "vision_projector", "audio_projector", "rest")


def inventory_of_config(
    raw: Mapping[str, Any], config: Gemma4Config, *, has_borrowed: bool
) -> Inventory:
    """What files with this config.json hold; ``raw`` is the file parsed, ``config`` as read.

    ``has_borrowed``: with the unused keys and values of layers that borrow, as Google's files.
    """
    section = raw.get("text_config") or raw
    asked = raw.get("dtype") or section.get("dtype") or section.get("torch_dtype")
    packer = _Packer(config.quantization, DTYPES.get(str(asked), "BF16"))
    borrowed = borrowed_shapes(config) if has_borrowed else {}
    return Inventory(
        config=config,
        tensors=tuple(packer.stored(*item) for item in tensor_shapes(config).items()),
        unused_bytes=sum(map(math.prod, borrowed.values())) * packer.itemsize,
        has_borrowed=bool(borrowed),
        missing=(),
        unexpected=(),
        itemsize=packer.itemsize,
    )


class _Packer:
    """How the ``quantization`` entry of config.json has tensors packed."""

    def __init__(self, settings: Mapping[str, Any] | None, dtype: str) -> None:
        self.dtype, self.itemsize = dtype.lower(), STORED_DTYPES[dtype].itemsize
        self.default = settings
        self.modules = {
            module_path(name): value
            for name, value in (settings or {}).items()
            if value is False or isinstance(value, Mapping)
        }

    def stored(self, path: str, shape: Shape) -> Stored:
        count = math.prod(shape)
        packed = self._sizes(path)
        if packed is None or len(shape) < 2 or shape[-1] % packed[1]:
            return Stored(path, count, count * self.itemsize, self.dtype)
        bits, group_size, affine = packed
        per_group = 2 * self.itemsize if affine else 1  # a scale and a bias, or a scale of 8 bits
        nbytes = count * bits // 8 + count // group_size * per_group
        return Stored(path, count, nbytes, packing_name(bits, group_size, affine=affine))

    def _sizes(self, path: str) -> tuple[int, int, bool] | None:
        """Bits, group size and whether each group has a bias; None for what is not packed."""
        by_default = path.startswith("language_model.") and group_of(path) is not UNPACKED
        settings = self.modules.get(
            path.removesuffix(".weight"), self.default if by_default else None
        )
        if not settings:
            return None
        for mode, sizes in FIXED_MODES.items():
            if settings.get("mode") == mode:
                return *sizes, False
        bits, group_size = settings.get("bits"), settings.get("group_size")
        if type(bits) is int and type(group_size) is int and bits > 0 and group_size > 0:
            return bits, group_size, True
        return None
