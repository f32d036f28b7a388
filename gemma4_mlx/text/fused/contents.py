"""What a fused step was made from, to see whether something else stands there now.

Weights may be loaded anew, modules replaced by adapters or quantized ones: no module tells.
"""

from collections.abc import Iterator
from operator import is_
from typing import Any


class Contents:
    """The modules and parameters of layers, and whether their steps are to be compiled.

    Two are equal when they hold the very same objects.
    """

    def __init__(self, layers: list[Any], compiled: bool):
        self.compiled = compiled
        self.objects = list(_objects(layers))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Contents)
            and self.compiled == other.compiled
            and len(self.objects) == len(other.objects)
            and all(map(is_, self.objects, other.objects))
        )

    __hash__ = None  # type: ignore[assignment]


def _objects(module: Any) -> Iterator[Any]:
    yield module
    for child in module.values() if isinstance(module, dict) else module:
        if isinstance(child, dict | list):
            yield from _objects(child)
        else:
            yield child
