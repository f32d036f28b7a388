"""Rows of the per-layer embedding table, from flash or from memory.

The table is 46 % of E2B and one row of it is used per token. On flash it stays in the safetensors
file, memory-mapped: the rows asked for are gathered on the host and, where the table is quantized,
dequantized as a few kilobytes. The system is told of all rows before the first is touched, so that
it reads many at a time and not page after page. While decoding, the next step's graph is built over
a staging array before its token is known; the row is written into that array's unified memory just
before the step is dispatched, so that nothing waits for anything else.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import mlx.core as mx
import numpy as np

from gemma4_mlx.loading.dtypes import as_stored
from gemma4_mlx.loading.rename import PLE_TABLE
from gemma4_mlx.loading.safetensors_file import TensorInfo
from gemma4_mlx.text.per_layer_embeddings import RowSource, StepRows


@dataclass(frozen=True)
class TableFormat:
    """How rows are stored and in which dtype they are wanted; no quantization means plain."""

    quantization: Mapping[str, Any] | None
    dtype: mx.Dtype | None

    def unpack(self, parts: Mapping[str, mx.array]) -> mx.array:
        """Rows (…, width) from their parts, each (…, columns)."""
        if self.dtype is not None:  # before unpacking, which computes in the scales' dtype
            parts = {
                name: part.astype(self.dtype) if mx.issubdtype(part.dtype, mx.floating) else part
                for name, part in parts.items()
            }
        if self.quantization is None:
            return parts["weight"]
        rows = mx.dequantize(
            parts["weight"], parts["scales"], parts.get("biases"), **self.quantization
        )
        return rows if self.dtype is None else rows.astype(self.dtype)


class MemoryRows:
    """The table as MLX arrays, read whole when first used."""

    def __init__(self, parts: Mapping[str, mx.array], table_format: TableFormat):
        self.parts, self.format = parts, table_format

    def rows(self, ids: np.ndarray) -> mx.array:
        return self._gather(mx.array(ids))

    def step(self, ids: mx.array) -> StepRows:
        return StepRows(self._gather(ids))

    def tensors(self) -> dict[str, mx.array]:
        return _named(self.parts)

    def _gather(self, ids: mx.array) -> mx.array:
        return self.format.unpack({name: part[ids] for name, part in self.parts.items()})


class FlashRows:
    """The table as a memory map of its file."""

    def __init__(
        self,
        infos: Mapping[str, TensorInfo],
        parts: Mapping[str, mx.array],
        table_format: TableFormat,
    ):
        self.infos, self.parts, self.format = infos, parts, table_format
        # Rows are far apart: reading ahead would fetch megabytes for every kilobyte used.
        self._mapped = [info.map(read_ahead=False) for info in infos.values()]
        self.maps = {name: mapped.numbers for name, mapped in zip(infos, self._mapped, strict=True)}

    def rows(self, ids: np.ndarray) -> mx.array:
        self._read_soon(np.unique(ids))
        parts = {
            name: as_stored(mx.array(table[ids]), self.infos[name].dtype)
            for name, table in self.maps.items()
        }
        return self.format.unpack(parts)

    def step(self, ids: mx.array) -> StepRows:
        parts, views = {}, {}
        for name, table in self.maps.items():
            # Made of host memory: evaluating one here would wait for the step that is running.
            staging = mx.array(np.zeros((*ids.shape, table.shape[1]), table.dtype))
            # A writable view of the array's own memory; it must outlive the step.
            views[name] = np.array(staging, copy=False)
            parts[name] = as_stored(staging, self.infos[name].dtype)

        def write(known: np.ndarray) -> None:
            self._read_soon(known.ravel())
            for name, table in self.maps.items():
                views[name][:] = table[known]

        return StepRows(self.format.unpack(parts), write)

    def _read_soon(self, ids: np.ndarray) -> None:
        rows: list[int] = ids.tolist()
        for mapped in self._mapped:
            mapped.read_soon(rows)

    def tensors(self) -> dict[str, mx.array]:
        return _named(self.parts)


def table_placement(rows: RowSource | None) -> Literal["flash", "memory"] | None:
    """Where the table of these rows is; None without a table."""
    if rows is None:
        return None
    return "flash" if isinstance(rows, FlashRows) else "memory"


def _named(parts: Mapping[str, mx.array]) -> dict[str, mx.array]:
    return {f"{PLE_TABLE}.{name}": part for name, part in parts.items()}
