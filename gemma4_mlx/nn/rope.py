"""Rotary position embedding (Su et al., 2021) of the decoder, in its two forms.

Local layers turn every frequency pair (i, i + D/2). Global layers use p-RoPE ("proportional"):
only the first ``partial_rotary_factor`` of the pairs turn and the rest carry content alone,
which keeps far tokens comparable. The frequencies of the pairs that do turn are spread over the
*whole* head, not over its rotated part: pair i turns by position · theta^(−2i/D).

Source: transformers ``modeling_rope_utils`` (rope types ``default`` and ``proportional``).
"""

import mlx.core as mx

from gemma4_mlx.config import RopeConfig


class RoPE:
    """Turns queries or keys of shape (B, H, L, D) by their position.

    Not a module: it learns nothing and a checkpoint holds nothing for it. ``turning_first``: the
    numbers that turn come before all others, the first of every pair and then the second ones;
    any number of others may follow.
    """

    def __init__(self, head_dim: int, config: RopeConfig, *, turning_first: bool = False):
        self.dims = head_dim
        self.theta = config.theta
        pairs = head_dim // 2
        turning = config.turning_pairs(head_dim)
        self.periods: mx.array | None = None
        if turning < pairs or turning_first:
            # mx.fast.rope divides the position by these; one that is infinite turns by zero.
            exponents = mx.arange(turning, dtype=mx.float32) * (2.0 / head_dim)
            self.periods = self.theta**exponents
            if turning_first:
                self.dims = 2 * turning
            else:
                still = mx.full((pairs - turning,), float("inf"))
                self.periods = mx.concatenate([self.periods, still])

    def __call__(self, x: mx.array, offset: int) -> mx.array:
        """Turn x (B, H, L, D), whose first token has position ``offset``."""
        if self.dims == 0:
            return x
        return mx.fast.rope(
            x,
            self.dims,
            traditional=False,
            base=self.theta if self.periods is None else None,
            scale=1.0,
            offset=offset,
            freqs=self.periods,
        )
