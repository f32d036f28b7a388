"""Linear layers that read the same input, as one matrix product.

The rows of the weights are put into one array, and the modules keep views of their part of it, so
that nothing is in memory twice and everything that reads a module's parameters still finds them.
Layers that are packed differently (a recipe may keep one of them in more bits) stay apart.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import mlx.core as mx
import mlx.nn as nn

from gemma4_mlx.text.attend import on_gpu

# Numbers of a plain matrix from which on a product on a CPU takes as long as reading it: there one
# call less gains nothing, and at most widths OpenBLAS takes some percent longer for two such
# matrices in one (BENCHMARKS.md, "Two matrices in one").
_LARGE = 2**22

Arrays = tuple[mx.array, ...]
# The arrays that a function of a layer is called with, by name.
Weights = dict[str, Any]


class Packing(NamedTuple):
    """How a weight is quantized."""

    group_size: int | None
    bits: int | None
    mode: str


class Weight(NamedTuple):
    """The arrays of one matrix, and how it is packed; None: not at all, and transposed."""

    packing: Packing | None
    arrays: Arrays


# What does not change from layer to layer of a kind: how each matrix of a projection is packed.
Form = tuple[Packing | None, ...]


@dataclass(frozen=True)
class Projection:
    """Linear layers that read the same input: usually one matrix for all of them."""

    weights: tuple[Weight, ...]

    @property
    def form(self) -> Form:
        return tuple(weight.packing for weight in self.weights)

    @property
    def arrays(self) -> tuple[Arrays, ...]:
        return tuple(weight.arrays for weight in self.weights)


def project(x: mx.array, form: Form, arrays: tuple[Arrays, ...]) -> mx.array:
    """x (B, in) → (B, out of all layers together)."""
    if len(form) == 1:
        return _times(x, form[0], arrays[0])
    outputs = [_times(x, packing, part) for packing, part in zip(form, arrays, strict=True)]
    return mx.concatenate(outputs, axis=-1)


def project_both(x: mx.array, form: Form, arrays: tuple[Arrays, ...]) -> tuple[mx.array, mx.array]:
    """x (B, in) → what each of two layers of the same width gives, (B, out)."""
    if len(form) == 1:
        first, second = mx.split(_times(x, form[0], arrays[0]), 2, axis=-1)
        return first, second
    return _times(x, form[0], arrays[0]), _times(x, form[1], arrays[1])


def _times(x: mx.array, packing: Packing | None, arrays: Arrays) -> mx.array:
    if packing is None:
        return x @ arrays[0]
    return mx.quantized_matmul(x, *operands(arrays), transpose=True, **packing._asdict())


def operands(arrays: Arrays) -> tuple[mx.array, mx.array, mx.array | None]:
    """Weight, scales and biases of a packed matrix; some modes have no biases."""
    weight, scales, *biases = arrays
    return weight, scales, biases[0] if biases else None


def weight_of(module: nn.Module) -> Weight:
    """What a linear layer, or one of experts, multiplies with."""
    if "scales" in module:
        return Weight(Packing(module.group_size, module.bits, module.mode), _parts(module))
    # A view; kept, so that no step has to make it again.
    return Weight(None, (module["weight"].swapaxes(-1, -2),))


def apart(*modules: nn.Module) -> Projection:
    """One layer, or several that stay matrices of their own."""
    return Projection(tuple(map(weight_of, modules)))


def both(first: nn.Module, second: nn.Module) -> Projection:
    """Two layers of the same shape and input, for ``project_both``: fused where that pays."""
    plain = "scales" not in first and "scales" not in second
    if plain and first["weight"].size >= _LARGE and not on_gpu():
        return apart(first, second)
    return fuse(first, second)


def fuse(*modules: nn.Module) -> Projection:
    """Layers with the same input. Their parameters become views of what they share."""
    packings = [weight_of(module).packing for module in modules]
    dtypes = [[part.dtype for part in _parts(module)] for module in modules]
    alike = packings.count(packings[0]) == dtypes.count(dtypes[0]) == len(modules)
    if alike and len(modules) > 1:
        names = _names(modules[0])
        ends = [module["weight"].shape[0] for module in modules]
        shared = {name: mx.concatenate([module[name] for module in modules]) for name in names}
        start = 0
        for module, rows in zip(modules, ends, strict=True):
            for name in names:
                module[name] = shared[name][start : start + rows]
            start += rows
        if packings[0] is None:
            return Projection((Weight(None, (shared["weight"].T,)),))
        return Projection((Weight(packings[0], tuple(shared.values())),))
    return apart(*modules)


def _names(module: nn.Module) -> list[str]:
    return [n for n in ("weight", "scales", "biases") if module.get(n) is not None]


def _parts(module: nn.Module) -> Arrays:
    return tuple(module[name] for name in _names(module))
