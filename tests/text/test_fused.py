"""A single token through the fused layers gives what it gives through the ordinary ones."""

from collections.abc import Callable
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx.utils import tree_flatten

from gemma4_mlx import load_model
from gemma4_mlx.model import Gemma4Model
from gemma4_mlx.nn.norms import RMSNorm
from gemma4_mlx.text.decoder import Decoder
from gemma4_mlx.text.fused import FusedStep, compiling
from gemma4_mlx.text.fused.compiling import AS_IT_IS, COMPILED
from gemma4_mlx.text.fused.linear import both, project_both
from tests import goldens
from tests.reference import families
from tests.text.models import build, ids, randomize

STEPS = 24  # the windows are of 8 to 11 tokens


def model_of(family: str, **changes: Any) -> Gemma4Model:
    if family not in families.BIG:  # without the table of per-layer embeddings, which is a file's
        changes |= {"hidden_size_per_layer_input": 0}
    model = build(family, **changes)
    randomize(model)
    return model


def replies(
    model: Gemma4Model, fused: bool, monkeypatch, rows: int = 1, **cache: Any
) -> np.ndarray:
    """The logits (steps, B, vocab) after a prompt and after each of some tokens decoded."""
    with monkeypatch.context() as patch:
        if not fused:
            patch.setattr(Decoder, "_fused_step", lambda *_, **__: None)
        kept = model.make_cache(**cache)
        found = [model(ids(12, rows), cache=kept)[:, -1]]
        for token in ids(STEPS, rows, seed=2).T:
            logits, feed = model.decode_step(token, kept)
            if feed is not None:
                feed(np.array(token))
            mx.eval(logits)
            found.append(logits)
    if fused:
        assert model.language_model._fused is not None
    return np.array(mx.stack(found).astype(mx.float32))


def assert_same(model: Gemma4Model, monkeypatch, bound: float = 2e-5, **settings: Any) -> None:
    plain = replies(model, False, monkeypatch, **settings)
    fused = replies(model, True, monkeypatch, **settings)
    assert np.abs(fused - plain).max() <= bound
    assert (fused.argmax(-1) == plain.argmax(-1)).all()


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("family", families.FAMILIES)
def test_of_every_family(family, rows, monkeypatch, way) -> None:
    assert_same(model_of(family), monkeypatch, rows=rows)


@pytest.mark.parametrize("family", families.FAMILIES)
def test_of_a_checkpoint(family, monkeypatch) -> None:
    """With per-layer embeddings, from flash."""
    assert_same(load_model(goldens.checkpoint(family), ple="flash"), monkeypatch)


@pytest.mark.parametrize("family", families.FAMILIES)
def test_in_bfloat16(family, monkeypatch) -> None:
    """The same roundings: to a bit where no sum is taken in another order."""
    model = model_of(family)
    model.set_dtype(mx.bfloat16)
    assert_same(model, monkeypatch, bound=0)


@pytest.mark.parametrize("family", families.BIG)
@pytest.mark.parametrize("changes", [{"fraction": 1.0}, {"attention_k_eq_v": False}], ids=str)
def test_with_two_tensors_in_global_layers(family, changes, monkeypatch) -> None:
    assert_same(model_of(family, **changes), monkeypatch)


@pytest.mark.parametrize("family", families.FAMILIES)
def test_with_a_cache_of_8_bits(family, monkeypatch) -> None:
    model = model_of(family, global_head_dim=128)
    assert_same(model, monkeypatch, bound=5e-3, kv_bits=8)


def packed(model: Gemma4Model, settings: Callable[[str], Any]) -> Gemma4Model:
    def choose(path: str, module: nn.Module) -> Any:
        fits = hasattr(module, "to_quantized") and module.weight.shape[-1] % 32 == 0
        return settings(path) if fits else False

    nn.quantize(model, class_predicate=choose)
    return model


PACKINGS: dict[str, Callable[[str], dict[str, Any]]] = {
    "affine": lambda path: {"group_size": 32, "bits": 4, "mode": "affine"},
    "mxfp4": lambda path: {"group_size": 32, "bits": 4, "mode": "mxfp4"},
    "mixed": lambda path: {
        "group_size": 32,
        "bits": 8 if path.endswith(("v_proj", "up_proj")) else 4,
        "mode": "affine",
    },
    "in part": lambda path: (
        False if path.endswith(("k_proj", "gate_proj")) else {"group_size": 32, "bits": 6}
    ),  # type: ignore[dict-item,return-value]
}


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("family", families.FAMILIES)
def test_packed_weights(family, packing, monkeypatch) -> None:
    assert_same(packed(model_of(family), PACKINGS[packing]), monkeypatch)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("family", families.FAMILIES)
def test_compiled_or_not(family, compiled, monkeypatch) -> None:
    model = load_model(goldens.checkpoint(family), ple="flash")
    model.language_model.compile_steps = compiled
    assert_same(model, monkeypatch)
    assert model.language_model._fused.way is (COMPILED if compiled else AS_IT_IS)


def test_parameters_are_what_they_were() -> None:
    """Fusing puts weights side by side; under their names they are still there, and only once."""
    model = model_of("31b", hidden_size=256, intermediate_size=1024)
    mx.eval(model.parameters())
    before = {name: np.array(array) for name, array in tree_flatten(model.parameters())}
    size = mx.get_active_memory()
    cache = model.make_cache()
    mx.eval(model(ids(3), cache=cache), model(ids(1), cache=cache), model.parameters())
    after = dict(tree_flatten(model.parameters()))
    assert after.keys() == before.keys()
    assert all(np.array_equal(np.array(after[name]), before[name]) for name in before)
    weights = sum(array.nbytes for array in before.values())
    assert mx.get_active_memory() - size < cache.nbytes + 0.02 * weights


def test_weights_put_in_later_are_used(monkeypatch) -> None:
    model, other = model_of("26b"), model_of("26b")
    randomize(other, seed=8)
    first = replies(model, True, monkeypatch)
    model.update(other.parameters())
    second = replies(model, True, monkeypatch)
    assert not np.allclose(first, second)
    assert np.array_equal(second, replies(other, True, monkeypatch))


class Adapted(nn.Module):
    """A linear layer with something of its own beside it, as adapters are."""

    def __init__(self, linear: nn.Linear):
        super().__init__()
        self.linear = linear

    def __call__(self, x: mx.array) -> mx.array:
        return 2 * self.linear(x)


class Doubled(RMSNorm):
    """A module of our own, and yet another one."""

    def __call__(self, x: mx.array) -> mx.array:
        return 2 * super().__call__(x)


def adapt_a_projection(layer: nn.Module) -> None:
    layer.self_attn.q_proj = Adapted(layer.self_attn.q_proj)


def adapt_a_norm(layer: nn.Module) -> None:
    norm = Doubled(layer.input_layernorm.weight.size)
    norm.weight = layer.input_layernorm.weight
    layer.input_layernorm = norm


@pytest.mark.parametrize("adapt", [adapt_a_projection, adapt_a_norm])
def test_an_unknown_module_runs_as_it_is(adapt, monkeypatch) -> None:
    """Wherever it stands; and the weights of layers before it are left as they are."""
    model = model_of("31b")
    before = replies(model, True, monkeypatch)
    adapt(model.language_model.layers[-1])
    adapted = replies(model, False, monkeypatch)
    assert not np.allclose(adapted, before)
    cache = model.make_cache()
    weights = [array for _, array in tree_flatten(model.parameters())]
    found = [model(part, cache=cache)[:, -1] for part in (ids(12), ids(STEPS, seed=2)[:, :1])]
    assert model.language_model._fused is None
    assert np.array_equal(np.array(mx.stack(found)), adapted[:2])
    now = [array for _, array in tree_flatten(model.parameters())]
    assert all(a is b for a, b in zip(weights, now, strict=True))


def test_it_is_made_once(monkeypatch) -> None:
    model = model_of("26b")
    replies(model, True, monkeypatch)
    made = model.language_model._fused
    replies(model, True, monkeypatch)
    assert model.language_model._fused is made


def test_compiling_may_be_asked_for_later(monkeypatch) -> None:
    model = model_of("31b")
    for compiled in (False, True, False):
        model.language_model.compile_steps = compiled
        replies(model, True, monkeypatch)
        assert model.language_model._fused.way is (COMPILED if compiled else AS_IT_IS)


def on_a_gpu(monkeypatch, answer: bool) -> None:
    monkeypatch.setattr(compiling, "on_gpu", lambda: answer)


def ways_of_steps(model: Gemma4Model, steps: int) -> list[compiling.Way]:
    """How the functions of each of some steps were called."""
    cache = model.make_cache()
    model(ids(3), cache=cache)
    found = []
    for token in ids(steps).T:
        found.append(model.language_model._fused.way)
        mx.eval(model(token[:, None], cache=cache))
    return found


def test_on_a_cpu_the_first_steps_wait_for_no_compiler(monkeypatch) -> None:
    """Of a model, not of each reply."""
    on_a_gpu(monkeypatch, False)
    model = model_of("31b")
    model.language_model.compile_steps = True  # also where there is no g++
    first = compiling.steps_before_compiling()
    assert first > 1
    assert ways_of_steps(model, first - 1) == [AS_IT_IS] * (first - 1)
    assert ways_of_steps(model, 3) == [AS_IT_IS, COMPILED, COMPILED]


def test_on_a_gpu_every_step_is_compiled(monkeypatch) -> None:
    on_a_gpu(monkeypatch, True)
    assert ways_of_steps(model_of("31b"), 2) == [COMPILED] * 2


@pytest.mark.parametrize(("variable", "value"), [("PATH", ""), ("MLX_DISABLE_COMPILE", "1")])
def test_where_mlx_compiles_nothing_steps_are_as_they_are(variable, value, monkeypatch) -> None:
    on_a_gpu(monkeypatch, False)
    monkeypatch.setenv(variable, value)
    model = model_of("31b")
    assert ways_of_steps(model, 8) == [AS_IT_IS] * 8


@pytest.mark.parametrize(
    ("shape", "bits", "gpu", "matrices"),
    [
        ((2048, 2048), None, False, 2),
        ((2048, 2048), None, True, 1),
        ((2048, 2048), 4, False, 1),
        ((256, 256), None, False, 1),
    ],
)
def test_large_plain_matrices_stay_apart_on_a_cpu(shape, bits, gpu, matrices, monkeypatch) -> None:
    monkeypatch.setattr("gemma4_mlx.text.fused.linear.on_gpu", lambda: gpu)
    layers = [nn.Linear(*shape, bias=False) for _ in range(2)]
    if bits is not None:
        layers = [layer.to_quantized(bits=bits) for layer in layers]
    x = mx.random.normal((1, shape[0]))
    expected = [layer(x) for layer in layers]
    projection = both(*layers)
    found = project_both(x, projection.form, projection.arrays)
    assert len(projection.weights) == matrices
    assert all(mx.allclose(a, b, atol=1e-5) for a, b in zip(found, expected, strict=True))


def test_one_function_for_every_pair_of_kinds() -> None:
    """E2B has layers that own local or global keys, and ones that borrow them, twice as wide."""
    model = model_of("e2b")
    step = FusedStep(model.language_model, compile_after=None)
    assert 2 < len(step.functions) < len(model.plan)
