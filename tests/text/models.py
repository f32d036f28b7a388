"""Models with random weights in which keys serve as values, with and without the one tensor."""

from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten, tree_unflatten

from gemma4_mlx.config import Gemma4Config
from gemma4_mlx.layer_plan import LayerPlan
from gemma4_mlx.model import Gemma4Model
from tests.reference.families import FULL, SLIDING, raw_config

ROPE = {"rope_type": "proportional", "rope_theta": 1e6}
LOCAL_ROPE = {"rope_type": "default", "rope_theta": 1e4}

# The global layers of the 31B, in a model that is small otherwise.
HEADS_OF_31B = {
    "layer_types": [FULL],
    "num_hidden_layers": 1,
    "num_attention_heads": 32,
    "num_global_key_value_heads": 4,
    "global_head_dim": 512,
    "max_position_embeddings": 65536,
}


def build(family: str, *, fraction: float = 0.25, **text: Any) -> Gemma4Model:
    """A model of the tiny family; ``fraction`` of the pairs of a global head turn."""
    rope = {FULL: {**ROPE, "partial_rotary_factor": fraction}, SLIDING: LOCAL_ROPE}
    raw = raw_config(family, rope_parameters=rope, **text)
    return Gemma4Model(Gemma4Config.from_dict(raw))


def randomize(model: Gemma4Model, seed: int = 5) -> None:
    """Every tensor random; key norms with zeros, negative, tiny and large weights among them."""
    random = np.random.RandomState(seed)
    found = {}
    for name, tensor in tree_flatten(model.parameters()):
        if name.endswith("k_norm.weight"):
            value = random.choice([0.0, -1.3, 1e-6, 0.7, 2.5], tensor.shape)
        elif tensor.ndim < 2:
            value = random.uniform(-1.5, 1.5, tensor.shape)
        else:
            value = random.normal(size=tensor.shape) * tensor.shape[-1] ** -0.5
        found[name] = mx.array(value.astype(np.float32))
    model.update(tree_unflatten(list(found.items())))


def pair(
    monkeypatch: pytest.MonkeyPatch, family: str, **changes: Any
) -> tuple[Gemma4Model, Gemma4Model]:
    """The same random model with one tensor in its K=V layers, and with two."""
    one = build(family, **changes)
    with monkeypatch.context() as patch:
        patch.setattr(LayerPlan, "one_tensor", False)
        two = build(family, **changes)
    randomize(one)
    two.update(one.parameters())
    return one, two


def fill(model: Gemma4Model, cache: Any, tokens: int) -> None:
    """Put ``tokens`` tokens of zeros into the global layers of a model without other ones."""
    for layer, row in zip(cache.layers, model.plan, strict=True):
        assert row.window is None
        dtype = model.language_model.embed_tokens.weight.dtype
        layer.update(mx.zeros((1, row.kept_heads, tokens, row.kept_width), dtype))
    mx.eval(cache.arrays())


def ids(length: int, rows: int = 1, seed: int = 1) -> mx.array:
    """Random ordinary tokens (rows, length)."""
    return mx.array(np.random.RandomState(seed).randint(10, 110, size=(rows, length)))
