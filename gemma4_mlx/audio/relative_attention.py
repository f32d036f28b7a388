"""Local attention that knows how far away a frame is, not where it is.

After Transformer-XL (Dai et al. 2019): the logit of a query and a key is the sum of a content
term ``q · k`` and a distance term ``q · r``, where r is a learned projection of a sinusoid of
the distance between the two. Transformer-XL's two extra bias vectors are absent. Each dimension
of the query has a learned scale; the logits are squashed into ±50 by tanh. Logits, softmax and
the weighted sum are float32.
"""

import math

import mlx.core as mx
import mlx.nn as nn

from gemma4_mlx.audio.blocks import LocalBlocks
from gemma4_mlx.config import AudioConfig
from gemma4_mlx.nn.clipped_linear import ClippedLinear

_MAX_TIMESCALE = 10_000.0


def distance_sinusoids(blocks: LocalBlocks, hidden_size: int) -> mx.array:
    """Sinusoids (R, hidden) float32 of the distances R−1 … 0: all sines, then all cosines.

    R is half a context plus one: 13 for blocks of 12 frames with 12 before them.
    """
    distances = mx.arange(blocks.context // 2, -1, -1, dtype=mx.float32)
    count = hidden_size // 2
    step = math.log(_MAX_TIMESCALE) / max(count - 1, 1)
    angles = distances[:, None] * mx.exp(mx.arange(count, dtype=mx.float32) * -step)
    return mx.concatenate([mx.sin(angles), mx.cos(angles)], axis=-1)


def align_distances(scores: mx.array, context: int) -> mx.array:
    """Scores by distance (…, chunk, R) → scores by key (…, chunk, context).

    Row i has its scores at keys i … i + R − 1, zeros elsewhere. Rather than index, each row is
    padded to context + 1 and the rows are read again at width context: every row starts one
    further to the right than the one above.
    """
    *batch, chunk, distances = scores.shape
    padding = [(0, 0)] * (scores.ndim - 1) + [(0, context + 1 - distances)]
    rows = mx.pad(scores, padding).reshape(*batch, chunk * (context + 1))
    return rows[..., : chunk * context].reshape(*batch, chunk, context)


class RelativeAttention(nn.Module):
    """Blocked local attention with H heads of D = hidden / H."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        hidden, clipped = config.hidden_size, config.use_clipped_linears
        self.num_heads = config.num_attention_heads
        self.head_dim = hidden // config.num_attention_heads
        self.blocks = LocalBlocks.from_config(config)
        self.logit_cap = config.attention_logit_cap
        self.invalid_logit = config.attention_invalid_logits_value
        # softplus(0) = ln 2 and softplus(1) = ln(1 + e): a per_dim_scale of 0 gives queries the
        # usual 1/√D, and keys carry a constant that was once such a scale of 1.
        self.query_scale = self.head_dim**-0.5 / math.log(2)
        self.key_scale = math.log(1 + math.e) / math.log(2)

        self.q_proj = ClippedLinear(hidden, hidden, clipped)
        self.k_proj = ClippedLinear(hidden, hidden, clipped)
        self.v_proj = ClippedLinear(hidden, hidden, clipped)
        self.post = ClippedLinear(hidden, hidden, clipped)
        self.relative_k_proj = nn.Linear(hidden, hidden, bias=False)
        self.per_dim_scale = mx.zeros((self.head_dim,))

    def __call__(self, x: mx.array, sinusoids: mx.array, mask: mx.array) -> mx.array:
        """(N, F, hidden) → (N, F, hidden).

        ``sinusoids`` (R, hidden) is of ``distance_sinusoids``, ``mask`` of ``LocalBlocks.mask``.
        """
        # 1. Project, scale and cut into blocks: (N, H, blocks, chunk or context, D), float32.
        scale = self.query_scale * nn.softplus(self.per_dim_scale.astype(mx.float32))
        q = self.blocks.queries(self._heads(self.q_proj(x)) * scale)
        k = self.blocks.contexts(self._heads(self.k_proj(x)) * self.key_scale)
        v = self.blocks.contexts(self._heads(self.v_proj(x)))
        q, k, v = (part.transpose(0, 3, 1, 2, 4) for part in (q, k, v))

        # 2. Content term, and distance term from keys (H, 1, R, D) that all blocks share.
        r = self._heads(self.relative_k_proj(sinusoids)).transpose(1, 0, 2)[:, None]
        distance_term = align_distances(q @ r.swapaxes(-1, -2), self.blocks.context)
        logits = q @ k.swapaxes(-1, -2) + distance_term

        # 3. Squash, mask, softmax. A query that sees nothing (padding) gets a plain mean rather
        #    than NaN, as masked logits are finite.
        logits = mx.tanh(logits / self.logit_cap) * self.logit_cap
        weights = mx.softmax(mx.where(mask, logits, self.invalid_logit), axis=-1)

        # 4. Weighted sum, blocks back to frames, mix the heads.
        out = (weights @ v).transpose(0, 2, 3, 1, 4)
        out = out.reshape(x.shape[0], -1, x.shape[2])[:, : x.shape[1]]
        return self.post(out.astype(x.dtype))

    def _heads(self, x: mx.array) -> mx.array:
        x = x.astype(mx.float32)
        return x.reshape(*x.shape[:-1], self.num_heads, self.head_dim)
