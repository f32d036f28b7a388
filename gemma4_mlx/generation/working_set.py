"""While a reply is generated, keep the model's memory at hand and what is freed within bounds.

A Mac's GPU may use a recommended share of the memory. What it works on is wired for as long as a
reply takes: else the system may take pages back between two tokens, and a model that nearly fills
the machine is read again at every step. And MLX keeps freed buffers for the next step, by default
beyond that share: here they get a part of what the weights leave.

Both limits are the whole process's. So they hold within a reply alone, and the last of several
replies to end puts them back. Without Metal nothing is set.

Source: mlx-lm ``generate`` (wired_limit). The bound on freed buffers is ours.
"""

import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import mlx.core as mx
from mlx.utils import tree_flatten

from gemma4_mlx.loading.ple_rows import table_placement
from gemma4_mlx.memory import room

if TYPE_CHECKING:
    from gemma4_mlx.model import Gemma4Model

# Weights beyond this share leave too little for the cache and for what a step computes.
_TIGHT = 0.9
# Freed buffers get this part of what the weights leave, but never less than a step can reuse.
_FREED_PART = 1 / 4
_FEWEST_FREED = 64 * 2**20

_TOWERS = {"image": "vision", "video": "vision", "audio": "audio"}

_lock = threading.Lock()
_replies = 0  # that are being generated
_before: tuple[int, int] = (0, 0)  # the limits that the first of them found


def weights_in_use(model: "Gemma4Model", media: Collection[str] = ()) -> int:
    """Bytes of the weights that a reply reads: the decoder's, and those of the towers for ``media``

    ("image", "video", "audio"). The per-layer embedding table counts where it is in memory.
    """
    towers = {_TOWERS[kind] for kind in media}
    used = ("language_model.", *(f"{t}_tower." for t in towers), *(f"embed_{t}." for t in towers))
    weights: dict[str, mx.array] = dict(tree_flatten(model.parameters()))
    tensors = [tensor for name, tensor in weights.items() if name.startswith(used)]
    if table_placement(model.ple_rows) == "memory":
        tensors += model.ple_tensors().values()
    return sum(tensor.nbytes for tensor in tensors)


def tight_fit(model: "Gemma4Model", media: Collection[str] = ()) -> tuple[int, int] | None:
    """Bytes of the weights in use and of the working set, if the first nearly fill the second."""
    available = _working_set()
    used = weights_in_use(model, media)
    return (used, available) if available is not None and used > _TIGHT * available else None


@contextmanager
def working_set(model: "Gemma4Model") -> Iterator[None]:
    """Within it, the GPU's working set is wired and freed buffers are bounded."""
    global _replies, _before
    available = _working_set()
    if available is None:
        yield
        return
    with _lock:
        _replies += 1
        if _replies == 1:
            spare = int(_FREED_PART * (available - weights_in_use(model)))
            _before = mx.set_wired_limit(available), mx.set_cache_limit(max(spare, _FEWEST_FREED))
    try:
        yield
    finally:
        with _lock:
            _replies -= 1
            if _replies == 0:
                mx.synchronize()  # a queued step must not see the limit change
                wired, freed = _before
                mx.set_wired_limit(wired)
                mx.set_cache_limit(freed)


def _working_set() -> int | None:
    """Bytes that Metal recommends to use; None without Metal."""
    found = room() if mx.metal.is_available() else None
    return found.nbytes if found is not None and found.kind == "working set" else None
