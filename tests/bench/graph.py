"""What one decode step dispatches: the operations in the graph that a token loop evaluates.

A call of ``mx.fast`` is one kernel on a GPU, but on the CPU MLX builds it of a dozen operations;
so it does ``mx.dequantize``. Therefore every such call is replaced, before the engine runs, by one
``Depends`` node over the same arrays. Its result is zeros: only the graph is looked at.

What ``mx.compile`` has fused is one operation, and what it could not fuse is counted one by one.
A function compiled around ``mx.fast`` calls holds their ``Depends`` nodes like any other, and
nothing is fused across them, as nothing is across a kernel. Everyone is counted in the same way.

Some operations only look at memory in another way (a reshape, a slice, a broadcast) and launch
nothing. They cost the host their node and the device nothing, so they are told apart.
"""

import io
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import numpy as np

_LABEL = re.compile(r'\[label ="([^"]+)", shape=rectangle\]')
_VIEWS = {
    "AsStrided", "Broadcast", "BroadcastAxes", "ExpandDims", "Flatten", "Reshape", "Slice",
    "Split", "Squeeze", "StopGradient", "Transpose", "Unflatten", "View",
}  # fmt: skip
FAST = "mx.fast"


@dataclass(frozen=True)
class Operations:
    """How often each kind of operation stands in a graph."""

    kinds: Counter[str]

    @property
    def total(self) -> int:
        return self.kinds.total()

    @property
    def views(self) -> int:
        return sum(count for kind, count in self.kinds.items() if kind in _VIEWS)

    @property
    def kernels(self) -> int:
        """Those that are no mere views."""
        return self.total - self.views


def operations(*outputs: mx.array) -> Operations:
    """The operations that evaluating these arrays would run; nothing is evaluated."""
    dot = io.StringIO()
    mx.export_to_dot(dot, *outputs)
    kinds = Counter(_LABEL.findall(dot.getvalue()))
    kinds[FAST] = kinds.pop("Depends", 0)
    return Operations(+kinds)


def use_stand_ins() -> None:
    """Replace the calls of ``mx.fast`` for the rest of this process; see above."""
    fast: Any = mx.fast

    def rms_norm(x: mx.array, weight: mx.array | None, eps: float, **_: Any) -> mx.array:
        return _one_node(x.shape, x.dtype, x, weight)

    def layer_norm(
        x: mx.array, weight: mx.array | None, bias: mx.array | None, eps: float, **_: Any
    ) -> mx.array:
        return _one_node(x.shape, x.dtype, x, weight, bias)

    def rope(
        x: mx.array, dims: int, *, offset: Any, freqs: mx.array | None = None, **_: Any
    ) -> mx.array:
        return _one_node(x.shape, x.dtype, x, freqs, offset)

    def attention(
        q: mx.array, k: mx.array, v: mx.array, *, mask: Any = None, sinks: Any = None, **_: Any
    ) -> mx.array:
        return _one_node((*q.shape[:-1], v.shape[-1]), q.dtype, q, k, v, mask, sinks)

    def dequantize(
        w: mx.array,
        scales: mx.array,
        biases: mx.array | None = None,
        group_size: int | None = None,
        bits: int | None = None,
        mode: str = "affine",
        *_: Any,
        dtype: mx.Dtype | None = None,
        **__: Any,
    ) -> mx.array:
        # Packed in 32-bit words: as many numbers as there are groups of them.
        width = w.shape[-1] * 32 // (bits or 4)
        return _one_node((*w.shape[:-1], width), dtype or scales.dtype, w, scales, biases)

    fast.rms_norm, fast.layer_norm, fast.rope = rms_norm, layer_norm, rope
    fast.scaled_dot_product_attention = attention
    mx.dequantize = dequantize


def _one_node(shape: Sequence[int], dtype: mx.Dtype, *inputs: Any) -> mx.array:
    # Zeros of host memory are a leaf of the graph; those of mx.zeros would be operations.
    zeros = mx.array(np.zeros(shape, np.float32), dtype)
    return mx.depends([zeros], [x for x in inputs if isinstance(x, mx.array)])[0]


def of_a_step(tokens: Iterator[int], steps: int) -> Operations:
    """The operations of the last of some decode steps, as its loop hands them to MLX.

    What has been handed over counts no more, so a step may come in several pieces.
    """
    kinds: Counter[str] = Counter()
    real: Callable[..., None] = mx.async_eval

    def watch(*arrays: Any) -> None:
        kinds.update(operations(*_flat(arrays)).kinds)
        real(*arrays)

    for _ in range(steps):
        next(tokens)
    mx.async_eval = watch
    try:
        next(tokens)
    finally:
        mx.async_eval = real
    if not kinds:
        raise RuntimeError("a step has handed nothing to mx.async_eval")
    return Operations(kinds)


def _flat(arrays: Any) -> Iterator[mx.array]:
    for item in arrays:
        if isinstance(item, mx.array):
            yield item
        elif item is not None:
            yield from _flat(item.values() if isinstance(item, dict) else item)
