"""What the 8-bit cache costs the demo model, and that a coarser one would be noticed."""

from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from gemma4_mlx import load_model
from tests.bench import kv_bits

# Nats: 8 bits cost 6e-7 on average over these dialogues, 6 bits 2e-5.
BOUND = 5e-6


@pytest.fixture(scope="module")
def dialogues() -> list[kv_bits.Dialogue]:
    """A recording and two questions."""
    return kv_bits.demo_dialogues()[:3]


@pytest.fixture(scope="module")
def plain(dialogues: list[kv_bits.Dialogue]) -> np.ndarray:
    return kv_bits.log_chances(load_model("demo", dtype="float32"), dialogues, None)


def test_eight_bits_cost_next_to_nothing(
    plain: np.ndarray, dialogues: list[kv_bits.Dialogue]
) -> None:
    model = load_model("demo", dtype="float32")
    found = kv_bits.cost(plain, kv_bits.log_chances(model, dialogues, 8))
    assert found.tokens == sum(len(reply) + 1 for _, reply in dialogues)
    assert 0 < found.mean < BOUND and found.percentile_99 < 40 * BOUND
    assert found.same_choice == 1


def test_fewer_bits_would_show(
    plain: np.ndarray, dialogues: list[kv_bits.Dialogue], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same comparison of numbers that have been through six bits before they are packed."""
    model = load_model("demo", dtype="float32")
    quantize = mx.quantize

    def coarser(tensor: mx.array, **settings: Any) -> Any:
        coarse = {**settings, "bits": 6}
        return quantize(mx.dequantize(*quantize(tensor, **coarse), **coarse), **settings)

    monkeypatch.setattr(mx, "quantize", coarser)
    found = kv_bits.cost(plain, kv_bits.log_chances(model, dialogues, 8))
    assert found.mean > BOUND, found


def test_what_a_token_takes_is_what_is_allocated(dialogues: list[kv_bits.Dialogue]) -> None:
    """All else being equal, two caches differ by what their global layers have room for."""
    model = load_model("demo", dtype="bfloat16")
    caches = [model.make_cache(bits) for bits in (None, 8)]
    for cache in caches:
        mx.eval(model(**dialogues[1][0], cache=cache, logits_to_keep=1), cache.arrays())
    before, after = (kv_bits.bytes_a_token(model, "bfloat16", bits) for bits in (None, 8))
    room = -(-caches[0].offset // 256) * 256
    assert caches[0].nbytes - caches[1].nbytes == room * (before - after)
