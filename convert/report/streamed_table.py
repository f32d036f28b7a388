"""An embedding that stays in its file: rows for the tokens, blocks of rows for the output layer.

The tied embedding is the largest matrix of a dense model (2.8 GB in the 31B) and every logit needs
all of it, but never all at once.
"""

from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from gemma4_mlx.loading.dtypes import as_stored
from gemma4_mlx.loading.ple_rows import FlashRows, TableFormat
from gemma4_mlx.loading.rename import module_path
from gemma4_mlx.loading.safetensors_file import checkpoint_tensors

EMBEDDING = "language_model.embed_tokens"


class StreamedTable:
    """The tied embedding of a checkpoint directory, packed or not, as float32 rows.

    ``module`` is the embedding as it was loaded: it knows how the table is packed. Nothing of it
    is read. Can stand in a decoder in its place.
    """

    def __init__(self, path: Path, module: nn.Module):
        parts = {name: module[name] for name in ("weight", "scales", "biases") if name in module}
        packing: dict[str, Any] | None = None
        if "scales" in parts:
            packing = {name: getattr(module, name) for name in ("group_size", "bits", "mode")}
        found = {module_path(name): info for name, info in checkpoint_tensors(path).items()}
        infos = {part: found[f"{EMBEDDING}.{part}"] for part in parts}
        self._rows = FlashRows(infos, parts, TableFormat(packing, mx.float32))
        self._height = infos["weight"].shape[0]

    @property
    def height(self) -> int:
        """Rows, one per token of the vocabulary."""
        return self._height

    def __call__(self, ids: mx.array) -> mx.array:
        """The rows of ids (B, L), as (B, L, hidden)."""
        return self._rows.rows(np.array(ids))

    def block(self, start: int, stop: int) -> mx.array:
        """Rows ``start`` to ``stop``, (stop − start, hidden), read in one go."""
        parts = {}
        for name, info in self._rows.infos.items():
            dtype, columns = self._rows.maps[name].dtype, info.shape[1]
            before = info.start + start * columns * dtype.itemsize
            count = (stop - start) * columns
            host = np.fromfile(info.file, dtype, count, offset=before).reshape(-1, columns)
            parts[name] = as_stored(mx.array(host), info.dtype)
        return self._rows.format.unpack(parts)
