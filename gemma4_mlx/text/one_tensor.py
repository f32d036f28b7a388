"""One tensor for the keys and values of a K=V layer.

There both come from one projection. The value of a token is its RMS norm u; the key is u · w, w
being the weight of k_norm, with some of its D numbers turned by the position (p-RoPE: 128 of
512). Nothing but those T numbers distinguishes them once w is taken into account elsewhere, so
what is kept per token and kv head is

    [ u · w, turned: T | u, which stays still: D − T | u, where the key turns: T ]

whose first D columns serve as keys and whose last D are the values: 640 numbers, not 1,024. The
weights w of the still part multiply the queries' norm weight instead, which gives the same
scores (nothing is divided, for a weight may be zero). Queries are put into the order of these
columns, and what the attention gives back into that of the output projection.

The idea is ours; the reference keeps keys and values.
"""

from collections.abc import Callable

import mlx.core as mx
import numpy as np

from gemma4_mlx.layer_plan import LayerPlan
from gemma4_mlx.nn.masks import Mask
from gemma4_mlx.nn.norms import rms_norm_no_scale
from gemma4_mlx.nn.rope import RoPE
from gemma4_mlx.text.attend import attend_within
from gemma4_mlx.text.packed import Kept


class OneTensor:
    """How one layer's numbers are arranged; not a module, for it learns nothing."""

    def __init__(self, plan: LayerPlan, rope: RoPE, eps: float):
        """``rope`` turns the first numbers of a head (``turning_first``)."""
        self.rope, self.eps = rope, eps
        self.head_dim, self.turning = plan.head_dim, plan.turning
        half, pairs = plan.head_dim // 2, plan.turning // 2
        numbers = np.arange(plan.head_dim)
        turning, still = numbers[numbers % half < pairs], numbers[numbers % half >= pairs]
        values = np.argsort(np.concatenate([still, turning]))
        self._turning, self._still = mx.array(turning), mx.array(still)
        self.key_order = _columns(turning, still)
        self._kept = _columns(turning, still, turning)
        self.value_order = _columns(values)
        self.value_order_within = _columns(values + plan.turning)
        self._column_weight, self._query_weight = _Derived(), _Derived()

    def write(self, projected: mx.array, key_weight: mx.array, offset: int) -> mx.array:
        """Key projections (B, L, K, D), the first at ``offset`` → (B, K, L, D + T) to keep."""
        kept = _picked(rms_norm_no_scale(projected, self.eps), self._kept)
        kept = kept * self._column_weight.of(self.weight_of_keys, key_weight)
        return self.rope(kept.transpose(0, 2, 1, 3), offset)

    def queries(
        self, projected: mx.array, query_weight: mx.array, key_weight: mx.array, offset: int
    ) -> mx.array:
        """Query projections (B, L, H, D), the first at ``offset`` → (B, H, L, D), as keys lie."""
        weight = self._query_weight.of(self.weight_of_queries, query_weight, key_weight)
        queries = mx.fast.rms_norm(self.in_key_order(projected), weight, self.eps)
        return self.rope(queries.transpose(0, 2, 1, 3), offset)

    def attend(self, queries: mx.array, tensor: Kept, mask: Mask) -> mx.array:
        """queries (B, H, L, D) and what is kept, (B, K, S, D + T) → (B, L, H, D), in order."""
        return self.in_order(attend_within(queries, tensor, mask).transpose(0, 2, 1, 3))

    def in_key_order(self, heads: mx.array) -> mx.array:
        """The numbers of heads (…, D) as keys have them: first those that turn."""
        return _picked(heads, self.key_order)

    def in_order(self, attended: mx.array) -> mx.array:
        """What attending gives, (…, D) or (…, D + T), as the output projection wants it."""
        whole = attended.shape[-1] > self.head_dim
        return _picked(attended, self.value_order_within if whole else self.value_order)

    def weight_of_keys(self, key_weight: mx.array) -> mx.array:
        """What the normed columns that are kept, (D + T,), are multiplied with."""
        ones = mx.ones((self.head_dim,), key_weight.dtype)
        return mx.concatenate([key_weight[self._turning], ones])

    def weight_of_queries(self, query_weight: mx.array, key_weight: mx.array) -> mx.array:
        """The norm weight (D) of queries as keys lie, with that of the keys' still part in it."""
        ones = mx.ones((self.turning,), key_weight.dtype)
        ordered = mx.concatenate([query_weight[self._turning], query_weight[self._still]])
        return ordered * mx.concatenate([ones, key_weight[self._still]])


class _Derived:
    """A tensor worked out from parameters, and again when one of these has been replaced."""

    def __init__(self) -> None:
        self._from: tuple[mx.array, ...] = ()
        self._value: mx.array | None = None

    def of(self, work_out: Callable[..., mx.array], *parameters: mx.array) -> mx.array:
        known = [id(parameter) for parameter in self._from]
        if self._value is None or known != [id(parameter) for parameter in parameters]:
            self._from, self._value = parameters, work_out(*parameters)
        return self._value


def _columns(*parts: np.ndarray) -> mx.array:
    return mx.array(np.concatenate(parts).astype(np.int32)[None, None, None])


def _picked(x: mx.array, columns: mx.array) -> mx.array:
    """The named columns of x (…, …, …, D); on the CPU four times as fast as mx.take."""
    return mx.take_along_axis(x, columns, axis=-1)
