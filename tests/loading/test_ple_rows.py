"""A quantized table of per-layer embeddings, computed with in float32."""

from collections.abc import Callable
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from gemma4_mlx import load_model
from gemma4_mlx.model import Gemma4Model
from tests import goldens
from tests.reference import ours
from tests.reference.checkpoints import edit_json, read_weights, write_weights

TABLE = "model.language_model.embed_tokens_per_layer"
AFFINE_4 = {"group_size": 32, "bits": 4, "mode": "affine"}
AFFINE_8 = {"group_size": 32, "bits": 8, "mode": "affine"}
MXFP4 = {"group_size": 32, "bits": 4, "mode": "mxfp4"}


def quantize_table(path: Path, settings: dict) -> mx.array:
    """Pack the table as conversions do, from bfloat16; the float32 table that it stands for."""
    weights = read_weights(path)
    packed = mx.quantize(weights.pop(f"{TABLE}.weight"), **settings)
    for part, tensor in zip(("weight", "scales", "biases"), packed, strict=False):
        weights[f"{TABLE}.{part}"] = tensor
    write_weights(path, weights)
    edit_json(path / "config.json", quantization=settings)
    whole = [part.astype(mx.float32) if part.dtype == mx.bfloat16 else part for part in packed]
    return mx.dequantize(*whole, **settings).astype(mx.float32)


@pytest.mark.parametrize("settings", [AFFINE_4, AFFINE_8, MXFP4], ids=["4bit", "8bit", "mxfp4"])
@pytest.mark.parametrize("family", ["e2b", "e4b"])
def test_float32_of_a_quantized_table(
    family: str, settings: dict, checkpoint: Callable[..., Path]
) -> None:
    """Exactly that of the table unpacked in float32, from flash and from memory, step by step."""
    path, plain = checkpoint(family), checkpoint(family, "plain")
    table = quantize_table(path, settings)
    write_weights(plain, read_weights(plain) | {f"{TABLE}.weight": table})
    reference = load_model(str(plain), dtype="float32", ple="memory")
    inputs = goldens.inputs(family, "mixed")
    expected = ours.logits(reference, inputs)
    greedy = ours.greedy_through_loop(reference, inputs, 16, 2048)
    for ple in ("memory", "flash"):
        model = load_model(str(path), dtype="float32", ple=ple)
        assert np.array_equal(rows(model), np.array(table)), ple
        assert np.array_equal(ours.logits(model, inputs), expected), ple
        assert ours.greedy_through_loop(model, inputs, 16, 2048) == greedy, ple
        assert np.array_equal(decoded(model), decoded(reference)), ple


def test_unpacking_in_the_files_dtype_would_show(checkpoint: Callable[..., Path]) -> None:
    """Without a dtype the rows are rounded to bfloat16, so the test above can tell."""
    path = checkpoint("e2b")
    table = quantize_table(path, AFFINE_8)
    model = load_model(str(path))
    assert rows(model).dtype == np.float32 and not np.array_equal(rows(model), np.array(table))


def rows(model: Gemma4Model) -> np.ndarray:
    """All rows of the table, as the decoder gets them."""
    assert model._ple_rows is not None
    every = np.arange(model.config.text.vocab_size_per_layer_input)[None]
    return np.array(model._ple_rows.rows(every).astype(mx.float32))[0]


def decoded(model: Gemma4Model) -> np.ndarray:
    """Logits of decoding steps, whose rows are written once the token is known."""
    cache = model.make_cache()
    model(mx.array([[2, 20, 30]]), cache=cache)
    found = []
    for token in (40, 41, 117):
        logits, feed = model.decode_step(mx.array([token]), cache)
        if feed is not None:
            feed(np.array([token]))
        found.append(np.array(logits))
    return np.stack(found)
