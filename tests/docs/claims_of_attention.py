"""Claims about attention: windows, heads, positions, and what the cache takes."""

import mlx.core as mx

from gemma4_mlx.config import FULL, SLIDING
from gemma4_mlx.nn.rope import RoPE
from tests.docs.arithmetic import A4B, BIG, E2B, E4B, MODELS
from tests.docs.claims import Claim, each, gigabytes, millions, percent

PLAN, ROPE = "gemma4_mlx/layer_plan.py", "gemma4_mlx/nn/rope.py"
MEMORY, CACHE = "gemma4_mlx/memory.py", "gemma4_mlx/text/kv_cache.py"
K, M = 8192, 131072


def attention() -> list[Claim]:
    """In the order of the page."""
    far = next(row for row in E2B.plan if row.is_global)
    rope = RoPE(far.head_dim, E2B.text.rope[FULL])
    assert rope.periods is not None
    pairs = far.head_dim // 2
    still = int(mx.isinf(rope.periods).sum())
    turning = pairs - still
    theta = E2B.text.rope[FULL].theta
    slowest = float(rope.periods[turning - 1])
    within = theta ** ((turning - 1) / turning)
    one = next(row for row in A4B.plan if row.one_tensor)
    halves = {m.name: 1 - m.cache(K, one=1) / m.cache(K, windows=False, one=1) for m in (A4B, BIG)}
    plain = {m.name: m.cache(K, windows=False, sharing=False) for m in MODELS}
    apart = {m.name: percent(1 - m.cache(K) / plain[m.name]) for m in MODELS}
    here = {m.name: percent(1 - m.kept(K) / plain[m.name]) for m in MODELS}
    shared = {m.name: m.saved_by_sharing(M) for m in (E2B, E4B)}
    share = {
        m.name: percent(m.saved_by_sharing(M) / m.cache(M, sharing=False), 0) for m in (E2B, E4B)
    }
    growth = {m.name: (m.kept(2 * K) - m.kept(K)) // K for m in MODELS}
    growth_apart = {m.name: round((m.cache(2 * K) - m.cache(K)) / K) for m in MODELS}
    wider = {
        m.name: m.attention_of(is_global=True) / m.attention_of(is_global=False) for m in MODELS
    }
    small = {m.name: m.cache(32768) for m in (E2B, E4B, BIG)}
    return [
        Claim(
            "one global layer after every 4 local ones in E2B, after every 5 in the others; the "
            "last is global",
            "config",
            each({m.name: m.kinds() for m in MODELS}),
            "holds",
            PLAN,
            "kind in enumerate(config.layer_types)",
        ),
        Claim(
            "local layers see 512 tokens in E2B and E4B, 1,024 in the others",
            "model card",
            each({m.name: f"{m.text.sliding_window:,}" for m in MODELS})
            + ", the token itself among them",
            "holds",
            PLAN,
            "None if is_global else config.sliding_window",
        ),
        Claim(
            "contexts of 128K (E2B, E4B) and 256K tokens",
            "model card",
            each({m.name: f"{m.text.max_position_embeddings:,}" for m in MODELS}),
            "holds",
            "gemma4_mlx/model.py",
            "if offset + length > limit",
        ),
        Claim(
            "2 queries share a key in local layers, 8 in global ones",
            "articles",
            "local "
            + each({m.name: str(m.queries_per_key(is_global=False)) for m in MODELS})
            + "; global "
            + each({m.name: str(m.queries_per_key(is_global=True)) for m in MODELS}),
            "corrected",
            PLAN,
            "config.num_global_key_value_heads if is_global else config.num_key_value_heads",
        ),
        Claim(
            "heads are 512 wide in global layers, 256 in local ones",
            "config",
            each({m.name: f"{m.text.global_head_dim} and {m.text.head_dim}" for m in MODELS})
            + "; a global layer's attention has so many times the weights of a local one's: "
            + each({name: f"{ratio:.2f}" for name, ratio in wider.items()}),
            "holds",
            PLAN,
            "config.global_head_dim if is_global else config.head_dim",
        ),
        Claim(
            "global layers have unified keys and values",
            "model card",
            each(
                {
                    m.name: f"{sum(r.k_eq_v for r in m.plan)} of {sum(r.is_global for r in m.plan)}"
                    for m in MODELS
                }
            )
            + " global layers",
            "corrected",
            PLAN,
            "is_global and config.attention_k_eq_v",
        ),
        Claim(
            "K=V halves the cache of global layers",
            "articles",
            f"keys are weighted and {one.turning} of {one.head_dim} numbers turned, values are "
            f"not: two tensors save nothing, one of {one.kept_width} numbers instead of "
            f"{2 * one.head_dim:,} saves {percent(1 - one.kept_width / (2 * one.head_dim))}. What "
            "it always spares are value projections: "
            + each({m.name: millions(m.value_projections()) for m in (A4B, BIG)}),
            "corrected",
            PLAN,
            "self.head_dim + self.turning if self.one_tensor else self.head_dim",
        ),
        Claim(
            "borrowed keys and values save 2.7 GB (E2B) and 6 GB (E4B) at 128K",
            "articles",
            each({name: gigabytes(count) for name, count in shared.items()})
            + f", which is {each(share)}: most layers that borrow are local and would keep their "
            "window alone",
            "corrected",
            PLAN,
            "donors[kind] if is_shared else None",
        ),
        Claim(
            "all models borrow keys and values",
            "articles",
            each(
                {
                    m.name: f"{sum(r.kv_donor is not None for r in m.plan)} of {len(m.plan)}"
                    for m in MODELS
                }
            )
            + " layers",
            "wrong",
            PLAN,
            "config.num_hidden_layers - config.num_kv_shared_layers",
        ),
        Claim(
            "the cache is 83 % smaller at 8K",
            "articles",
            "a share needs a baseline. Against the same layers without window and sharing, keys "
            f"and values apart: {each(apart)}; as it is kept here: {each(here)}. Where K=V counts "
            "as half on both sides, the 26B and the 31B save 5/6, at this context alone: "
            f"{each({name: percent(count) for name, count in halves.items()})}",
            "corrected",
            MEMORY,
            "tokens = allocated if row.window is None else min(allocated, row.window)",
        ),
        Claim(
            "the cache of the 26B grows by 20 KB a token",
            "technical report",
            f"{growth_apart[A4B.name]:,} bytes with keys and values apart; here "
            + each({name: f"{count:,}" for name, count in growth.items()}),
            "holds",
            MEMORY,
            "numbers = row.kept_heads * row.kept_width",
        ),
        Claim(
            "at 32K the cache takes 0.05 GB (E2B), 0.14 GB (E4B), 1.10 GB (31B)",
            "technical report",
            "in bfloat16 with keys and values apart "
            + each({name: gigabytes(count) for name, count in small.items()})
            + "; in 4 bits without scales "
            + each({name: gigabytes(count / 4) for name, count in small.items()})
            + ": which format was meant is not said",
            "cannot be known here",
            MEMORY,
            "total += tokens * token",
        ),
        Claim(
            "p-RoPE stretches or slows the frequencies of global layers",
            "articles",
            f"none is changed: pair i turns by θ^(−2i/{far.head_dim}), θ = {theta:,.0f}, for the "
            f"first {turning} of {pairs} pairs, and {still} do not turn at all",
            "wrong",
            ROPE,
            "mx.arange(turning, dtype=mx.float32) * (2.0 / head_dim)",
        ),
        Claim(
            "the first quarter of a head turns, as with a partial rotary factor elsewhere",
            "articles",
            f"pairs are (i, i + {pairs}): numbers 0–{turning - 1} and {pairs}–"
            f"{pairs + turning - 1} turn. The exponent runs over the whole head, so the slowest "
            f"pair's divisor is {slowest:.1f}; over the turning part alone it would be "
            f"{within:,.0f}",
            "corrected",
            ROPE,
            'mx.full((pairs - turning,), float("inf"))',
        ),
        Claim(
            "θ is 10,000 in local layers and 1,000,000 in global ones",
            "config",
            each(
                {
                    m.name: f"{m.text.rope[SLIDING].theta:,.0f} and {m.text.rope[FULL].theta:,.0f}"
                    for m in MODELS
                }
            ),
            "holds",
            "gemma4_mlx/text_config.py",
            '((SLIDING, "default"), (FULL, "proportional"))',
        ),
        Claim(
            "scores are scaled by 1/√head_dim and capped",
            "question",
            "neither: queries and keys are normed, the scale is 1; only logits are capped, at "
            f"{E2B.text.final_logit_softcapping:g}",
            "wrong",
            "gemma4_mlx/text/attend.py",
            "scale=1.0",
        ),
    ]
