"""Every fact about a decoder layer, decided once: one row per layer.

Gemma 4 interleaves local (sliding window) and global layers that differ in head size, key and
value heads, whether values are the keys (K=V), whose keys and values they read (KV sharing),
and the width of their MLP. The modules, the cache and ``gemma4 info`` read this table; none of
them works any of it out again.
"""

from dataclasses import dataclass

from gemma4_mlx.config import FULL, LayerKind, TextConfig
from gemma4_mlx.errors import CheckpointError


@dataclass(frozen=True)
class LayerPlan:
    """One decoder layer.

    ``kv_donor`` is the index of the layer whose keys and values this one reads, or None when it
    has its own. ``window`` is None in global layers. ``turning`` of the ``head_dim`` numbers of a
    head depend on the position; the others carry content alone (p-RoPE).
    """

    index: int
    kind: LayerKind
    num_heads: int
    num_kv_heads: int
    head_dim: int
    turning: int
    window: int | None
    k_eq_v: bool
    kv_donor: int | None
    mlp_width: int
    has_experts: bool

    @property
    def is_global(self) -> bool:
        return self.kind == FULL

    @property
    def one_tensor(self) -> bool:
        """Whether one tensor holds keys and values: see text/one_tensor.py."""
        return self.k_eq_v and self.turning < self.head_dim

    @property
    def kept_heads(self) -> int:
        """How many heads the cache keeps: those of keys and of values, or of both at once."""
        return self.num_kv_heads if self.one_tensor else 2 * self.num_kv_heads

    @property
    def kept_width(self) -> int:
        """Numbers per token in each of these heads."""
        return self.head_dim + self.turning if self.one_tensor else self.head_dim

    @property
    def packed_group(self) -> int | None:
        """How many of them share a scale in a cache of 8 bits; None where no group fits."""
        return next((size for size in (64, 32) if self.kept_width % size == 0), None)


def plan_layers(config: TextConfig) -> tuple[LayerPlan, ...]:
    """The layer table of a decoder.

    The last ``num_kv_shared_layers`` layers borrow from the last unshared layer of their kind;
    with ``use_double_wide_mlp`` those are also the ones with twice the MLP width.
    Raises CheckpointError when a shared layer has no layer of its kind to borrow from.
    """
    first_shared = config.num_hidden_layers - config.num_kv_shared_layers
    donors = {kind: i for i, kind in enumerate(config.layer_types[:first_shared])}

    rows = []
    for index, kind in enumerate(config.layer_types):
        is_global, is_shared = kind == FULL, index >= first_shared
        if is_shared and kind not in donors:
            raise CheckpointError(
                f"config.json: layer {index} shares keys and values, but no {kind!r} layer comes "
                f"before the {config.num_kv_shared_layers} shared ones"
            )
        head_dim = config.global_head_dim if is_global else config.head_dim
        rows.append(
            LayerPlan(
                index=index,
                kind=kind,
                num_heads=config.num_attention_heads,
                num_kv_heads=(
                    config.num_global_key_value_heads if is_global else config.num_key_value_heads
                ),
                head_dim=head_dim,
                turning=2 * config.rope[kind].turning_pairs(head_dim),
                window=None if is_global else config.sliding_window,
                k_eq_v=is_global and config.attention_k_eq_v,
                kv_donor=donors[kind] if is_shared else None,
                mlp_width=config.intermediate_size
                * (2 if is_shared and config.use_double_wide_mlp else 1),
                has_experts=config.enable_moe_block,
            )
        )
    return tuple(rows)
