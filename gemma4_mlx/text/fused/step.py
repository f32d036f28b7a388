"""One token through all layers, in as few calls as possible.

The second half of a layer and the first half of the next are one function, traced once for every
pair of kinds and called with the weights as arguments. Between two of these calls lies what changes
shape with every token: the cache and the attention.

The functions are compiled by MLX where it can (compiling.py).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import numpy as np

from gemma4_mlx.config import LayerKind
from gemma4_mlx.nn.masks import Mask
from gemma4_mlx.text.attend import attend_once, attend_within
from gemma4_mlx.text.fused import experts
from gemma4_mlx.text.fused.after import AfterForm, after, rest_of_layer
from gemma4_mlx.text.fused.before import BeforeForm, before, queries_keys_values
from gemma4_mlx.text.fused.compiling import AS_IT_IS, COMPILED, Function, Way
from gemma4_mlx.text.kv_cache import KVCache
from gemma4_mlx.text.packed import keys_and_values

if TYPE_CHECKING:
    from gemma4_mlx.text.decoder import Decoder

# So many layers are little work to queue, and enough for the device while the rest is queued.
_FIRST_LAYERS = 4


@dataclass
class Beginning:
    """Arrays on the way through a step, for a caller who queues it piece by piece.

    ``without_rows`` needs no per-layer input; ``first_layers`` is a few layers further.
    """

    without_rows: list[mx.array] = field(default_factory=list)
    first_layers: list[mx.array] = field(default_factory=list)


class FusedStep:
    """The layers of a decoder for one further token of each row of a batch.

    Made from the decoder's parameters, of which it shares the memory. ``compile_after`` so many
    steps its functions are compiled; None: never.
    """

    def __init__(self, decoder: "Decoder", *, compile_after: int | None):
        eps = decoder.config.rms_norm_eps
        layers = decoder.layers
        firsts = [
            before(layer, layers[_owner(row)].self_attn, eps)
            for layer, row in zip(layers, decoder.plan, strict=True)
        ]
        seconds = [after(layer, eps) for layer in layers]
        self._first = firsts[0]
        self._halves = list(zip(decoder.plan, seconds, [*firsts[1:], None], strict=True))
        self._top_k = seconds[0].form.top_k
        self._choices: dict[int, tuple[mx.array, mx.array]] = {}
        self._steps, self._compile_after = 0, compile_after
        self._call_by(COMPILED if compile_after == 0 else AS_IT_IS)

    def _call_by(self, way: Way) -> None:
        self.way = way
        self.functions: dict[Any, Function] = {}
        self._begin = way.wrap(_first_half(self._first.form), self._first.weights)
        self._first_weights = way.arrange(self._first.weights)
        self._calls = []
        for row, second, first in self._halves:
            forms = second.form, None if first is None else first.form
            weights = second.weights, {} if first is None else first.weights
            if forms not in self.functions:
                self.functions[forms] = way.wrap(_between(*forms), weights)
            self._calls.append((row, self.functions[forms], way.arrange(weights), *forms))

    def __call__(
        self,
        x: mx.array,
        per_layer: mx.array | None,
        cache: KVCache,
        masks: dict[LayerKind, Mask],
        beginning: Beginning | None = None,
    ) -> mx.array:
        """x (B, hidden), per-layer inputs (B, layers, P) → (B, hidden) after all layers.

        What ``beginning`` names is put into it.
        """
        rows, offset = x.shape[0], cache.offset
        positions = _Positions(rows, offset)
        inputs = _by_layer(per_layer, len(self._calls))
        choices = self._choices_of(rows)
        seen: dict[int, Any] = {}

        queries, *new = self._begin(self._first_weights, x, positions.of(self._first.form))
        for row, function, weights, form, upcoming in self._calls:
            owner = _owner(row)
            if new:
                layer = cache.layers[row.index]
                assert layer is not None
                kept = layer.update(new[0])
                seen[owner] = kept if form.one_tensor else keys_and_values(kept)
            mask = masks[row.kind]
            assert mask is None or isinstance(mask, mx.array)  # as it is for a single token
            if form.one_tensor:
                attended = attend_within(queries, seen[owner], mask)
            else:
                keys, values = seen[owner]
                attended = attend_once(queries, keys, values, mask)
            position = None if upcoming is None else positions.of(upcoming)
            x, *rest = function(weights, x, attended, next(inputs), choices, position)
            if rest:
                queries, *new = rest
            if beginning is not None:
                if row.index == 0:
                    beginning.without_rows.append(attended)
                elif row.index == _FIRST_LAYERS:
                    beginning.first_layers.append(x)
        self._steps += 1
        if self._steps == self._compile_after:
            self._call_by(COMPILED)
        return x

    def _choices_of(self, rows: int) -> tuple[mx.array, mx.array] | None:
        if not self._top_k:
            return None
        if rows not in self._choices:
            self._choices[rows] = experts.choices(rows, self._top_k)
        return self._choices[rows]


def _first_half(form: BeforeForm) -> Function:
    return lambda weights, x, position: queries_keys_values(form, weights, x, position)


def _between(second: AfterForm, first: BeforeForm | None) -> Function:
    """From the attention of one layer to that of the next, or to the end."""

    def function(
        weights: Any, x: mx.array, attended: mx.array, per_layer: Any, choices: Any, position: Any
    ) -> tuple[mx.array, ...]:
        x = rest_of_layer(second, weights[0], x, attended, per_layer, choices)
        if first is None:
            return (x,)
        return x, *queries_keys_values(first, weights[1], x, position)

    return function


class _Positions:
    """The position of the token, in the forms that layers want it."""

    def __init__(self, rows: int, offset: int):
        self._rows, self._offset = rows, offset
        self._scalar = mx.array(offset)
        self._vectors: dict[tuple[int, int], mx.array] = {}

    def of(self, form: BeforeForm) -> mx.array:
        if not form.turns_values:
            return self._scalar
        shape = form.heads + form.kv_heads, form.kv_heads
        if shape not in self._vectors:
            turned, still = shape
            each = np.array([self._offset] * turned + [0] * still, np.int32)
            self._vectors[shape] = mx.array(np.tile(each, self._rows))
        return self._vectors[shape]


def _owner(row: Any) -> int:
    return row.index if row.kv_donor is None else row.kv_donor


def _by_layer(per_layer: mx.array | None, layers: int) -> Iterator[mx.array | None]:
    """The (B, P) of every layer. In two stages: each output of a split costs as many as it has."""
    if per_layer is None:
        yield from [None] * layers
        return
    rows = per_layer.shape[0]
    if rows > 1:
        per_layer = per_layer.swapaxes(0, 1)
    flat = per_layer.reshape(layers * rows, -1)
    stage = max(1, round(layers**0.5))
    ends = [end * rows for end in range(stage, layers, stage)]
    for group in mx.split(flat, ends, axis=0):
        yield from mx.split(group, group.shape[0] // rows, axis=0)
