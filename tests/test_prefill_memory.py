"""A long prompt with pictures takes no more memory than its cache, and the same logits come out.

On the big models a picture's tokens see each other, so borders of chunks lie between pictures.
What a chunk needs beside the cache (masks, scores, activations) must depend on its length alone.
"""

import copy
from functools import cache

import mlx.core as mx
import numpy as np
import pytest

from gemma4_mlx.config import Gemma4Config
from gemma4_mlx.generation.loop import prefill
from gemma4_mlx.model import Gemma4Model
from gemma4_mlx.text import attend
from tests import goldens
from tests.reference import families

TOLERANCE = 1e-4
TEXT, PICTURE = 5, 59  # tokens; a picture is several windows long
WHOLE = 10**6


@cache
def model_of(family: str) -> Gemma4Model:
    """The tiny model with a context long enough, random; layers and kinds as they are."""
    raw = copy.deepcopy(goldens.config(family))
    raw["text_config"]["max_position_embeddings"] = 2**16
    model = Gemma4Model(Gemma4Config.from_dict(raw))
    mx.eval(model.parameters())
    return model


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prompts of thousands of tokens behave here as those of a hundred thousand do."""
    monkeypatch.setattr(attend, "_SCORES", 2**14)
    monkeypatch.setattr(attend, "_LEAST_TILE", 4)


def read(family: str, pictures: int, step_size: int) -> tuple[np.ndarray, int, int]:
    """The last logits, the peak of memory beside the weights and the bytes of the cache.

    The pictures' tokens are marked, but their embeddings are those of text: the tower's share,
    one soft token per placeholder, is no part of this.
    """
    model = model_of(family)
    types = np.array([([0] * TEXT + [1] * PICTURE) * pictures])
    ids = np.random.RandomState(7).randint(10, 110, size=types.shape)
    inputs = {"input_ids": mx.array(ids), "mm_token_type_ids": mx.array(types)}
    kept = model.make_cache()
    mx.synchronize()
    mx.clear_cache()
    before = mx.get_active_memory()
    mx.reset_peak_memory()
    logits = np.array(prefill(model, inputs, kept, step_size=step_size))
    return logits, mx.get_peak_memory() - before, kept.nbytes


@pytest.mark.parametrize("family", families.BIG)
def test_peak_memory_grows_with_the_cache_alone(family: str) -> None:
    _, few, held_by_few = read(family, 4, 256)
    _, many, held_by_many = read(family, 48, 256)
    # A buffer that grows exists twice for a moment, and so do the keys and values of one layer.
    assert many - few <= 2.5 * (held_by_many - held_by_few)
    # In one piece the rest grows too: what this test would see if chunks did not bound it.
    _, whole, _ = read(family, 48, WHOLE)
    assert whole - few > 8 * (held_by_many - held_by_few)


@pytest.mark.parametrize("step_size", [1, 100, 256, 700])
@pytest.mark.parametrize("family", families.BIG)
def test_pictures_in_chunks_give_the_same_logits(family: str, step_size: int) -> None:
    whole, *_ = read(family, 12, WHOLE)
    found, *_ = read(family, 12, step_size)
    assert np.abs(found - whole).max() <= TOLERANCE
    assert np.abs(whole).max() > 0.01
