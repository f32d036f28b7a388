"""Grouped-query attention of the decoder, local or global (Ainslie et al., 2023).

What differs from a plain transformer:

* queries and keys are RMS-normed with a weight, values without one, and the scores are not
  scaled: the norms have done it;
* in the global layers of the big models the keys serve as values too (K=V): the value is the
  key projection before its norm and its rotation, and one tensor holds both (one_tensor.py);
* a layer with a donor has no key and value projections: it reads the donor's (KV sharing).
"""

from typing import NamedTuple

import mlx.core as mx
import mlx.nn as nn

from gemma4_mlx.config import TextConfig
from gemma4_mlx.layer_plan import LayerPlan
from gemma4_mlx.nn.masks import Mask
from gemma4_mlx.nn.norms import RMSNorm, rms_norm_no_scale
from gemma4_mlx.nn.rope import RoPE
from gemma4_mlx.text.attend import attend
from gemma4_mlx.text.kv_cache import LayerCache
from gemma4_mlx.text.one_tensor import OneTensor
from gemma4_mlx.text.packed import Kept, keys_and_values


class KeysValues(NamedTuple):
    """What queries attend to, and the weight (D,) of k_norm in the layer that wrote it.

    ``kept`` (B, N, tokens, width): the heads of keys and then those of values, or of both at once.
    """

    kept: Kept
    key_weight: mx.array


class Attention(nn.Module):
    """Self-attention of one decoder layer; tensors (B, L, hidden)."""

    def __init__(self, config: TextConfig, plan: LayerPlan):
        super().__init__()
        self.plan = plan
        self.eps = config.rms_norm_eps
        hidden, head_dim = config.hidden_size, plan.head_dim

        self.q_proj = nn.Linear(hidden, plan.num_heads * head_dim, bias=False)
        self.q_norm = RMSNorm(head_dim, self.eps)
        if plan.kv_donor is None:
            self.k_proj = nn.Linear(hidden, plan.num_kv_heads * head_dim, bias=False)
            self.k_norm = RMSNorm(head_dim, self.eps)
            if not plan.k_eq_v:
                self.v_proj = nn.Linear(hidden, plan.num_kv_heads * head_dim, bias=False)
        self.o_proj = nn.Linear(plan.num_heads * head_dim, hidden, bias=False)
        self.rope = RoPE(head_dim, config.rope[plan.kind], turning_first=plan.one_tensor)
        self.one_tensor = OneTensor(plan, self.rope, self.eps) if plan.one_tensor else None

    def __call__(
        self,
        x: mx.array,
        *,
        keep: int,
        offset: int,
        mask: Mask,
        cache: LayerCache | None,
        donated: KeysValues | None,
    ) -> tuple[mx.array, KeysValues]:
        """Attend from the last ``keep`` of the L new tokens, whose first has position ``offset``.

        Returns (B, keep, hidden) and the keys and values seen, for layers that borrow them.
        """
        length = x.shape[1]

        # 1. Keys and values: the donor's, or our own for all L tokens.
        seen = donated if donated is not None else self._keys_values(x, offset, cache)

        # 2. Queries, only where an output is wanted.
        asking = x if keep == length else x[:, -keep:]
        queries = _split_heads(self.q_proj(asking), self.plan.head_dim)

        # 3. Attend. A mask that is no array knows by itself that the queries are the last ones.
        if isinstance(mask, mx.array):
            mask = mask[..., -keep:, :]
        out = self._attend(queries, offset + length - keep, seen, mask)
        return self.o_proj(out.reshape(*asking.shape[:2], -1)), seen

    def _keys_values(self, x: mx.array, offset: int, cache: LayerCache | None) -> KeysValues:
        projected = _split_heads(self.k_proj(x), self.plan.head_dim)
        if self.one_tensor is not None:
            new = self.one_tensor.write(projected, self.k_norm.weight, offset)
        else:
            values = projected
            if not self.plan.k_eq_v:
                values = _split_heads(self.v_proj(x), self.plan.head_dim)
            keys = self.rope(self.k_norm(projected).transpose(0, 2, 1, 3), offset)
            values = rms_norm_no_scale(values, self.eps).transpose(0, 2, 1, 3)
            new = mx.concatenate([keys, values], axis=1)
        return KeysValues(new if cache is None else cache.update(new), self.k_norm.weight)

    def _attend(self, projected: mx.array, offset: int, seen: KeysValues, mask: Mask) -> mx.array:
        """Query projections (B, L, H, D), the first at ``offset`` → (B, L, H, D)."""
        if self.one_tensor is not None:
            weights = self.q_norm.weight, seen.key_weight
            queries = self.one_tensor.queries(projected, *weights, offset)
            return self.one_tensor.attend(queries, seen.kept, mask)
        keys, values = keys_and_values(seen.kept)
        queries = self.rope(self.q_norm(projected).transpose(0, 2, 1, 3), offset)
        return attend(queries, keys, values, mask).transpose(0, 2, 1, 3)


def _split_heads(x: mx.array, head_dim: int) -> mx.array:
    """(B, L, H·D) → (B, L, H, D)."""
    return x.reshape(*x.shape[:2], -1, head_dim)
