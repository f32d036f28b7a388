"""Whether and when the functions of a step are compiled by MLX, and how they are called then.

A compiled function's graph is built without Python, by less than half of the host's work, and of
its elementwise operations few are left. For a GPU MLX compiles within a moment. For a CPU it runs a
C++ compiler on some twenty kernels, once: it keeps them in the system's temporary folder. Those are
some seconds, and so that nobody waits for them who wants a few tokens, a CPU takes the first steps
as they are.
"""

import os
import shutil
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import mlx.core as mx
from mlx.utils import tree_flatten, tree_unflatten

from gemma4_mlx.text.attend import on_gpu

Function = Callable[..., Any]

# Uncompiled steps on a CPU; the first token and very short answers come without a wait.
_FIRST_STEPS = 4


class Way(NamedTuple):
    """How a function (weights, …) is called: as ``wrap`` makes it, with what ``arrange`` gives.

    ``wrap(function, weights)`` is given weights like those that the function is to be called with.
    """

    wrap: Callable[[Function, Any], Function]
    arrange: Callable[[Any], Any]


def can_compile() -> bool:
    """Whether MLX compiles when asked to; for a CPU it needs ``g++``."""
    allowed = "MLX_DISABLE_COMPILE" not in os.environ
    return allowed and (on_gpu() or shutil.which("g++") is not None)


def steps_before_compiling() -> int:
    """How many steps are taken as they are, where steps are to be compiled."""
    return 0 if on_gpu() else _FIRST_STEPS


def _compiled(function: Function, weights: Any) -> Function:
    """Called with the weights in a list, which MLX goes through in half the time of a tree."""
    names = [name for name, _ in _named(weights)]

    @mx.compile
    def compiled(arrays: list[mx.array], *inputs: Any) -> Any:
        return function(tree_unflatten(list(zip(names, arrays, strict=True))), *inputs)

    return compiled


def _flat(weights: Any) -> list[mx.array]:
    return [array for _, array in _named(weights)]


def _named(weights: Any) -> list[tuple[str, mx.array]]:
    return cast(list[tuple[str, mx.array]], tree_flatten(weights))


AS_IT_IS = Way(lambda function, _: function, lambda weights: weights)
COMPILED = Way(_compiled, _flat)
