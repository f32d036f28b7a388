"""One tensor for keys and values: the logits of two, in 5/8 of the memory, and no copies."""

import mlx.core as mx
import numpy as np
import pytest

from gemma4_mlx.config import Gemma4Config
from gemma4_mlx.layer_plan import plan_layers
from gemma4_mlx.memory import kv_cache_bytes
from gemma4_mlx.model import Gemma4Model
from gemma4_mlx.released import released_config
from tests.reference import families, ours
from tests.reference.inputs import PromptBuilder, left_pad
from tests.text.models import HEADS_OF_31B, build, fill, ids, pair

TOLERANCE = 1e-4
FRACTIONS = {
    "a quarter": {"fraction": 0.25},
    "a half": {"fraction": 0.5},
    "one pair": {"fraction": 0.07},
    "none": {"fraction": 0.01},
    "no power of two": {"fraction": 0.3, "global_head_dim": 44},
}


def assert_same(one: mx.array, two: mx.array) -> None:
    assert ours.difference(np.array(one), np.array(two)) <= TOLERANCE


@pytest.mark.parametrize("changes", FRACTIONS.values(), ids=FRACTIONS)
@pytest.mark.parametrize("family", families.BIG)
def test_a_prompt_and_single_tokens(family, changes, way, monkeypatch) -> None:
    one, two = pair(monkeypatch, family, **changes)
    prompt = ids(33)
    assert_same(one(prompt), two(prompt))
    caches = one.make_cache(), two.make_cache()
    for length in (17, 1, 1, 3, 1, 9, 1):
        more = ids(length, seed=length)
        assert_same(one(more, cache=caches[0]), two(more, cache=caches[1]))
    for row, mine, theirs in zip(one.plan, caches[0].layers, caches[1].layers, strict=True):
        assert theirs.buffers[0].shape[1] == 2 * row.num_kv_heads
        assert mine.buffers[0].shape[1] == row.num_kv_heads * (1 if row.is_global else 2)


@pytest.mark.parametrize("family", families.BIG)
def test_where_everything_turns_there_are_two(family, monkeypatch) -> None:
    one, two = pair(monkeypatch, family, fraction=1.0)
    assert not any(row.one_tensor for row in one.plan)
    cache = one.make_cache()
    assert np.array_equal(np.array(one(ids(20), cache=cache)), np.array(two(ids(20))))
    for row, layer in zip(one.plan, cache.layers, strict=True):
        assert layer.buffers[0].shape[1] == 2 * row.num_kv_heads


@pytest.mark.parametrize("sizes", [[1] * 99, [7] * 99, [40, 1, 2, 18]], ids=str)
@pytest.mark.parametrize("case", ["mixed", "long image"])
def test_media_in_chunks(case, sizes, way, monkeypatch) -> None:
    """Blocks of pictures, whose local layers mask with arrays, and calls of any size."""
    from tests.reference.inputs import make_case

    one, two = pair(monkeypatch, "26b")
    inputs = make_case(families.raw_config("26b"), case, 11)
    chunked = ours.chunked_logits(one, inputs, sizes)
    assert ours.difference(chunked, ours.logits(two, inputs)) <= TOLERANCE


@pytest.mark.parametrize("family", families.BIG)
def test_a_batch_with_padding(family, way, monkeypatch) -> None:
    one, two = pair(monkeypatch, family)
    config = families.raw_config(family)
    rows = [PromptBuilder(config, seed).text(n).build() for seed, n in enumerate((3, 40, 21))]
    batch = ours.to_mlx(left_pad(rows))
    caches = one.make_cache(), two.make_cache()
    assert_same(one(**batch, cache=caches[0]), two(**batch, cache=caches[1]))
    for length in (1, 1, 5, 1, 20, 1):
        more = ids(length, rows=3, seed=length)
        assert_same(one(more, cache=caches[0]), two(more, cache=caches[1]))


@pytest.mark.parametrize("family", families.BIG)
def test_after_going_back(family, way, monkeypatch) -> None:
    one, two = pair(monkeypatch, family, max_position_embeddings=1024)
    caches = one.make_cache(), two.make_cache()
    for model, cache in zip((one, two), caches, strict=True):
        model(ids(270), cache=cache)
        snapshot = cache.snapshot()
        model(ids(300, seed=2), cache=cache)  # further than the buffer at the snapshot
        cache.restore(snapshot)
    for length in (1, 19, 1):
        more = ids(length, seed=length)
        assert_same(one(more, cache=caches[0]), two(more, cache=caches[1]))


@pytest.mark.parametrize("family", families.BIG)
def test_layers_that_borrow_the_tensor(family, way, monkeypatch) -> None:
    """The query norms of two layers meet the key norm of one."""
    one, two = pair(monkeypatch, family, num_kv_shared_layers=2)
    caches = one.make_cache(), two.make_cache()
    for length in (30, 1, 4):
        more = ids(length, seed=length)
        assert_same(one(more, cache=caches[0]), two(more, cache=caches[1]))
    last = one.language_model.layers[-1].self_attn
    assert last.plan.kv_donor == 1 and "k_norm" not in last


def test_norm_weights_that_are_replaced(way, monkeypatch) -> None:
    """What is worked out from them is worked out again."""
    one, two = pair(monkeypatch, "31b")
    one(ids(9))
    for name in ("k_norm", "q_norm"):
        for model in (one, two):
            norm = model.language_model.layers[1].self_attn[name]
            norm.weight = 0.5 - norm.weight
        assert_same(one(ids(9)), two(ids(9)))


def test_parameters_are_those_of_the_checkpoint(monkeypatch) -> None:
    one, two = pair(monkeypatch, "31b")
    one(ids(5))
    names = [sorted(flat(model)) for model in (one, two)]
    assert names[0] == names[1]


def flat(model: Gemma4Model) -> dict[str, mx.array]:
    from mlx.utils import tree_flatten

    return dict(tree_flatten(model.parameters()))


# --- memory --------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", families.BIG)
def test_five_eighths_of_what_mlx_lm_keeps(family) -> None:
    """One layer live, multiplied, at 8K; what memory.py works out, at all lengths."""
    from mlx_lm.models.cache import KVCache as TheirCache

    config = Gemma4Config.from_dict(released_config(family)).text
    rows = [row for row in plan_layers(config) if row.is_global]
    heads, head_dim = rows[0].num_kv_heads, rows[0].head_dim
    theirs = TheirCache()
    new = mx.zeros((1, heads, 8192, head_dim), mx.bfloat16)
    theirs.update_and_fetch(new, new)

    text = HEADS_OF_31B | {"num_global_key_value_heads": heads}
    model = build(family, **text)
    model.set_dtype(mx.bfloat16)
    cache = model.make_cache()
    attention = model.language_model.layers[0].self_attn
    attention._keys_values(mx.zeros((1, 8192, 64), mx.bfloat16), 0, cache.layers[0])
    assert cache.nbytes / theirs.nbytes == 0.625

    for context in (8192, 32_768, 131_072, 262_144):
        local = sum(
            2 * row.window * row.num_kv_heads * row.head_dim * 2
            for row in plan_layers(config)
            if row.window is not None
        )
        expected = theirs.nbytes * len(rows) * (context // 8192) * 0.625
        assert kv_cache_bytes(config, context) - local == expected


def test_no_second_tensor_becomes_resident() -> None:
    """What a prompt and some decoding leave in memory, whoever holds it."""
    model = build("31b", **HEADS_OF_31B | {"num_attention_heads": 4})
    cache = model.make_cache()
    mx.eval(model.parameters(), model(ids(3)))
    before = mx.get_active_memory()
    for length in (200, 309, 1, 1, 1):
        mx.eval(model(ids(length), cache=cache, logits_to_keep=1), cache.arrays())
    kept = mx.get_active_memory() - before
    two_tensors = 512 * 4 * 2 * 512 * 4
    assert cache.offset == 512
    assert 0.62 * two_tensors < kept < 0.65 * two_tensors


@pytest.mark.parametrize("tokens", [4096, 32_768])
def test_a_step_copies_nothing(tokens) -> None:
    model = build("31b", **HEADS_OF_31B)
    model.set_dtype(mx.bfloat16)
    mx.eval(model.parameters())
    cache = model.make_cache()
    fill(model, cache, tokens - 5)
    mx.eval(model(ids(1), cache=cache))
    before = mx.get_active_memory()
    mx.reset_peak_memory()
    for _ in range(3):
        mx.eval(model(ids(1), cache=cache))
    assert cache.offset == tokens - 1
    assert mx.get_peak_memory() - before < 0.08 * cache.nbytes
