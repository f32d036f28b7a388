"""What memory.py works out is what the cache really takes."""

import mlx.core as mx
import pytest

from gemma4_mlx import load_model, memory
from gemma4_mlx.config import Gemma4Config
from gemma4_mlx.generation.loop import generate_tokens
from gemma4_mlx.memory import contexts, keeps_table_in_memory, kv_cache_bytes, room
from gemma4_mlx.model import Gemma4Model
from gemma4_mlx.released import released_config
from gemma4_mlx.text.kv_cache import KVCache
from tests import goldens
from tests.reference.families import raw_config
from tests.text.models import HEADS_OF_31B, build, fill

FAMILIES = ("e2b", "e4b", "26b", "31b")


def run(model: Gemma4Model, cache: KVCache, count: int) -> None:
    """Feed ``count`` further tokens in one call."""
    ids = 10 + mx.arange(count)[None] % 50
    mx.eval(model(ids, cache=cache, logits_to_keep=1), *cache.arrays())


def bytes_after(model: Gemma4Model, tokens: int) -> int:
    """After a prompt of all tokens but one, and one decoding step."""
    cache = model.make_cache()
    run(model, cache, tokens - 1)
    run(model, cache, 1)
    assert cache.offset == tokens
    return cache.nbytes


# Windows are 8, 11, 8 and 10 tokens; buffers grow by 256.
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_cache_of_a_model_that_ran(family: str, dtype: str) -> None:
    model = load_model(goldens.checkpoint(family), dtype=dtype)
    window = model.config.text.sliding_window
    itemsize = 2 if dtype == "bfloat16" else 4
    for tokens in (2, window - 1, window, window + 1, 255, 256, 257, 300):
        expected = kv_cache_bytes(model.config.text, tokens, itemsize=itemsize)
        assert bytes_after(model, tokens) == expected, tokens


def test_a_window_longer_than_a_step() -> None:
    model = Gemma4Model(Gemma4Config.from_dict(raw_config("31b", sliding_window=300)))
    for tokens in (2, 255, 256, 257, 299, 300, 301, 511):
        expected = kv_cache_bytes(model.config.text, tokens, itemsize=4)
        assert bytes_after(model, tokens) == expected, tokens


def test_a_prompt_before_the_first_decoded_token() -> None:
    """What the docstring says: less than worked out, by the room that decoding adds."""
    model = Gemma4Model(Gemma4Config.from_dict(raw_config("31b", sliding_window=300)))
    config = model.config.text
    for tokens in (40, 299, 300, 400):
        cache = model.make_cache()
        run(model, cache, tokens)
        sliding = [row for row in model.plan if row.window is not None]
        room = min(-(-tokens // 256) * 256, 300) - min(tokens, 300)
        spare = sum(room * 2 * row.num_kv_heads * row.head_dim * 4 for row in sliding)
        assert cache.nbytes == kv_cache_bytes(config, tokens, itemsize=4) - spare
        assert (spare == 0) == (tokens >= 300)


def test_a_batch_takes_it_once_per_row() -> None:
    model = Gemma4Model(Gemma4Config.from_dict(raw_config("26b")))
    cache = model.make_cache()
    mx.eval(model(mx.full((3, 20), 7), cache=cache), *cache.arrays())
    assert cache.nbytes == 3 * kv_cache_bytes(model.config.text, 20, itemsize=4)


def test_the_released_models() -> None:
    """By hand: 2 · kv heads · head size · 2 bytes a token and layer that owns its keys.

    Where keys serve as values, 640 numbers in place of 2 · 512.
    """
    text = {name: Gemma4Config.from_dict(released_config(name)).text for name in FAMILIES}
    e2b = 12 * 512 * 2 * 256 * 2 + 3 * 131_072 * 2 * 512 * 2
    assert kv_cache_bytes(text["e2b"], 131_072) == e2b
    assert kv_cache_bytes(text["26b"], 32_768) == (
        25 * 1024 * 2 * 8 * 256 * 2 + 5 * 32_768 * 2 * 640 * 2
    )
    # per further token on the 26B: 5/8 of the published 20 KB
    further = kv_cache_bytes(text["26b"], 8192) - kv_cache_bytes(text["26b"], 4096)
    assert further == 4096 * 20 * 1024 * 5 // 8
    assert kv_cache_bytes(text["31b"], 0) == 0


def test_contexts_go_up_to_the_limit() -> None:
    text = Gemma4Config.from_dict(released_config("e2b")).text
    assert contexts(text) == tuple(1024 * 2**i for i in range(2, 8))
    for limit, expected in {
        512: (512,),
        4096: (4096,),
        5000: (4096, 5000),
        8192: (4096, 8192),
    }.items():
        raw = raw_config("e2b", max_position_embeddings=limit)
        assert contexts(Gemma4Config.from_dict(raw).text) == expected


def test_the_table_stays_on_flash_unless_it_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "physical_memory", lambda: 64 * 1000)
    assert keeps_table_in_memory(1000)
    assert not keeps_table_in_memory(1001)


def test_room_is_what_metal_recommends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mx, "device_info", lambda: {"max_recommended_working_set_size": 12_000})
    assert (room().nbytes, room().kind) == (12_000, "working set")


def test_room_without_metal_is_all_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mx, "device_info", lambda: {"architecture": "x86_64"})
    assert (room().nbytes, room().kind) == (memory.physical_memory(), "memory")
    assert room().nbytes > 2**30


def test_generating_copies_no_cache() -> None:
    """What a step still reads cannot be written in place: the next one must not come too early."""
    model = build("31b", **HEADS_OF_31B | {"num_attention_heads": 8})
    mx.eval(model.parameters())
    cache = model.make_cache()
    fill(model, cache, 4096 - 20)
    before = mx.get_active_memory()
    mx.reset_peak_memory()
    inputs = {"input_ids": mx.array([[7, 8, 9]])}
    tokens = generate_tokens(model, inputs, cache, lambda x: x.argmax(-1), max_tokens=12)
    assert len(list(tokens)) == 12
    assert mx.get_peak_memory() - before < 0.5 * cache.nbytes
