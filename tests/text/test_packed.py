"""The cache of 8 bits: one result however it is read, and close to that of the plain cache."""

from itertools import pairwise

import mlx.core as mx
import numpy as np
import pytest

from gemma4_mlx import load, load_model
from gemma4_mlx.config import Gemma4Config
from gemma4_mlx.errors import InputError
from gemma4_mlx.memory import kv_cache_bytes
from gemma4_mlx.model import Gemma4Model
from gemma4_mlx.released import released_config
from gemma4_mlx.text.attend import attend, attend_within
from gemma4_mlx.text.kv_cache import GlobalLayerCache, KVCache
from gemma4_mlx.text.packed import Packed, pack, unpacked
from tests.reference import families, ours
from tests.reference.inputs import PromptBuilder, left_pad
from tests.text.models import build, ids, pair, randomize

HEAD_DIM = 128  # 160 numbers in one tensor: groups of 32; else groups of 64


def model_of(family: str) -> Gemma4Model:
    # No per-layer embeddings: their table would have to be given.
    model = build(family, global_head_dim=HEAD_DIM, hidden_size_per_layer_input=0)
    randomize(model)
    soften(model)
    return model


def soften(model: Gemma4Model) -> None:
    """Scores of the size that trained models have; larger ones make a choice of every rounding."""
    for layer in model.language_model.layers:
        layer.self_attn.q_norm.weight = layer.self_attn.q_norm.weight * 0.1


def logits(model: Gemma4Model, prompt: mx.array, sizes: list[int], cache: KVCache) -> np.ndarray:
    """Of a prompt in calls of these sizes."""
    parts = [
        np.array(model(prompt[:, start:end], cache=cache).astype(mx.float32))
        for start, end in pairwise(np.cumsum([0, *sizes]).tolist())
    ]
    return np.concatenate(parts, axis=1)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("within", [False, True], ids=["two tensors", "one tensor"])
def test_packed_numbers_are_multiplied_as_they_are(within, masked, dtype, way) -> None:
    """What a single query finds is what it finds in the tensors unpacked."""
    head_dim, width = 128, 160 if within else 128
    queries = (mx.random.normal((2, 8, 1, head_dim)) * head_dim**-0.5).astype(getattr(mx, dtype))
    kept = [mx.random.normal((2, 2, 300, width)).astype(getattr(mx, dtype)) for _ in range(2)]
    packed = [Packed(*(part[:, :, :257] for part in pack(tensor, 32))) for tensor in kept]
    plain = [unpacked(tensor) for tensor in packed]
    assert packed[0].shape == plain[0].shape == (2, 2, 257, width)
    mask = mx.random.bernoulli(0.5, (2, 1, 1, 257)) if masked else None
    if within:
        found = attend_within(queries, packed[0], mask)[..., -head_dim:]
        expected = attend_within(queries, plain[0], mask)[..., -head_dim:]
    else:
        found, expected = attend(queries, *packed, mask), attend(queries, *plain, mask)
    assert found.dtype == queries.dtype
    bound = 1e-5 if dtype == "float32" else 0.01
    if dtype == "float32" or way == "the CPU's way":  # Metal adds up in float32 by itself
        difference = mx.abs(found.astype(mx.float32) - expected.astype(mx.float32))
        assert difference.max().item() < bound


@pytest.mark.parametrize("sizes", [[50], [1] * 50, [20, 1, 1, 5, 1, 22]], ids=str)
@pytest.mark.parametrize("family", families.FAMILIES)
def test_near_to_the_plain_cache(family, sizes, way) -> None:
    model, prompt = model_of(family), ids(50)
    found = logits(model, prompt, sizes, model.make_cache(kv_bits=8))
    expected = np.array(model(prompt))
    assert 0 < relative(found, expected) < 0.01


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    return np.abs(found - expected).mean() / np.abs(expected).mean()


def test_one_tensor_packs_as_well_as_two(monkeypatch) -> None:
    models = pair(monkeypatch, "31b", global_head_dim=HEAD_DIM)
    soften(models[0])
    models[1].update(models[0].parameters())
    prompt = ids(60)
    expected = np.array(models[1](prompt))
    one, two = (
        relative(logits(model, prompt, [60], model.make_cache(kv_bits=8)), expected)
        for model in models
    )
    assert one < 1.2 * two


@pytest.mark.parametrize("family", ["e2b", "31b"])
def test_a_batch_with_padding(family, way) -> None:
    model, config = model_of(family), families.raw_config(family)
    rows = [PromptBuilder(config, seed).text(n).build() for seed, n in enumerate((4, 30))]
    together = model.make_cache(kv_bits=8)
    model(**ours.to_mlx(left_pad(rows)), cache=together)
    alone = [model.make_cache(kv_bits=8) for _ in rows]
    for single, cache in zip(rows, alone, strict=True):
        model(**ours.to_mlx(single), cache=cache)
    for length in (1, 1, 3, 1):
        more = ids(length, rows=2, seed=length)
        found = np.array(model(more, cache=together))
        for row, cache in enumerate(alone):
            expected = np.array(model(more[row : row + 1], cache=cache))
            # Turned by other positions, a key may be rounded to the next of its 256 values.
            assert relative(found[row : row + 1], expected) < 0.005


@pytest.mark.parametrize("family", ["e2b", "31b"])
def test_after_going_back(family, way) -> None:
    model = model_of(family)
    cache = model.make_cache(kv_bits=8)
    model(ids(30), cache=cache)
    snapshot = cache.snapshot()
    first = logits(model, ids(20), [8, 1, 1, 10], cache)
    cache.restore(snapshot)
    other = logits(model, ids(20, seed=4), [8, 1, 1, 10], cache)
    cache.restore(snapshot)
    assert np.array_equal(logits(model, ids(20), [8, 1, 1, 10], cache), first)
    assert not np.array_equal(other, first)


@pytest.mark.parametrize("family", families.FAMILIES)
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_only_global_layers_are_packed(family, dtype) -> None:
    model = model_of(family)
    model.set_dtype(getattr(mx, dtype))
    cache = model.make_cache(kv_bits=8)
    for length in (300, 1):
        mx.eval(model(ids(length), cache=cache, logits_to_keep=1), cache.arrays())
    for layer in cache.layers:
        if layer is not None:
            numbers = layer.buffers[0].dtype
            assert (numbers == mx.uint32) == isinstance(layer, GlobalLayerCache)
    itemsize = 2 if dtype == "bfloat16" else 4
    assert cache.nbytes == kv_cache_bytes(model.config.text, 301, itemsize=itemsize, kv_bits=8)


def test_the_released_models() -> None:
    """A byte a number and two scales of 2 bytes for 64 of them: 17/32 of bfloat16."""
    for name in families.FAMILIES:
        text = Gemma4Config.from_dict(released_config(name)).text
        grown = [
            kv_cache_bytes(text, 131_072, kv_bits=bits) - kv_cache_bytes(text, 4096, kv_bits=bits)
            for bits in (None, 8)
        ]
        assert grown[1] / grown[0] == 17 / 32


def test_the_cost_on_a_trained_model() -> None:
    """The demo model's choice of the next token after each of its own, in float32."""
    model = load_model("demo", dtype=mx.float32)
    processor = load("demo")[1]
    prompt = processor([{"role": "user", "content": "What can you do?"}])["input_ids"]
    reply = mx.array(ours.greedy(model, {"input_ids": np.array(prompt)}, 40))
    whole = mx.concatenate([mx.array(prompt), reply], axis=1)
    sizes = [prompt.shape[1]] + [1] * 40
    plain, packed = (
        log_softmax(logits(model, whole, sizes, model.make_cache(kv_bits=bits)))
        for bits in (None, 8)
    )
    divergence = (np.exp(plain) * (plain - packed)).sum(axis=-1)
    assert divergence.mean() < 1e-4 and divergence.max() < 2e-3
    assert (plain.argmax(-1) == packed.argmax(-1)).all()


def log_softmax(values: np.ndarray) -> np.ndarray:
    values = values.astype(np.float64)
    values = values - values.max(axis=-1, keepdims=True)
    return values - np.log(np.exp(values).sum(axis=-1, keepdims=True))


@pytest.mark.parametrize("bits", [4, 0, 16, "8", 8.5])
def test_other_bits_are_refused(bits) -> None:
    with pytest.raises(InputError, match="kv_bits is") as caught:
        build("e2b").make_cache(kv_bits=bits)
    assert repr(bits) in str(caught.value) and "\n" not in str(caught.value)


def test_heads_that_make_no_groups_are_refused() -> None:
    with pytest.raises(InputError, match="kv_bits=8 packs groups of 32") as caught:
        build("31b").make_cache(kv_bits=8)
    assert "keeps 40" in str(caught.value) and "\n" not in str(caught.value)
    build("31b").make_cache()
