"""Grouped-query attention of the decoder, local or global (Ainslie et al., 2023).

What differs from a plain transformer:

* queries and keys are RMS-normed with a weight, values without one, and the scores are not
  scaled: the norms have done it;
* in the global layers of the big models the keys serve as values too (K=V): the value is the
  key projection before its norm and its rotation;
* a layer with a donor has no key and value projections: it reads the donor's (KV sharing).
"""

import mlx.core as mx
import mlx.nn as nn

from gemma4_mlx.config import TextConfig
from gemma4_mlx.layer_plan import LayerPlan
from gemma4_mlx.nn.masks import Mask
from gemma4_mlx.nn.norms import RMSNorm, rms_norm_no_scale
from gemma4_mlx.nn.rope import RoPE
from gemma4_mlx.text.kv_cache import LayerCache

KeysValues = tuple[mx.array, mx.array]


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
        self.rope = RoPE(head_dim, config.rope[plan.kind])

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
        queries = self.q_norm(_split_heads(self.q_proj(asking), self.plan.head_dim))
        queries = self.rope(queries.transpose(0, 2, 1, 3), offset + length - keep)

        # 3. Attend. "causal" aligns the queries with the last keys, so it needs no trimming.
        if isinstance(mask, mx.array):
            mask = mask[..., -keep:, :]
        elif keep == 1:
            mask = None
        out = mx.fast.scaled_dot_product_attention(queries, *seen, scale=1.0, mask=mask)
        out = out.transpose(0, 2, 1, 3).reshape(*asking.shape[:2], -1)
        return self.o_proj(out), seen

    def _keys_values(self, x: mx.array, offset: int, cache: LayerCache | None) -> KeysValues:
        projected = _split_heads(self.k_proj(x), self.plan.head_dim)
        values = projected if self.plan.k_eq_v else _split_heads(self.v_proj(x), self.plan.head_dim)
        keys = self.rope(self.k_norm(projected).transpose(0, 2, 1, 3), offset)
        values = rms_norm_no_scale(values, self.eps).transpose(0, 2, 1, 3)
        return cache.update(keys, values) if cache is not None else (keys, values)


def _split_heads(x: mx.array, head_dim: int) -> mx.array:
    """(B, L, H·D) → (B, L, H, D)."""
    return x.reshape(*x.shape[:2], -1, head_dim)
