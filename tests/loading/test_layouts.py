"""Every layout a checkpoint comes in gives the same model: shards, config styles, extra tensors."""

import json
import shutil

import mlx.core as mx
import numpy as np
import pytest

from gemma4_mlx import InputError, load_model
from tests import goldens
from tests.reference import families, ours
from tests.reference.checkpoints import edit_json, shard_checkpoint

CASE = "mixed"
UNUSED = tuple(f".self_attn.{part}.weight" for part in ("k_proj", "v_proj", "k_norm"))


def assert_same_model(path, family: str) -> None:
    found = ours.logits(ours.load_float32(path), goldens.inputs(family, CASE))
    assert ours.difference(found, goldens.logits(family, CASE)) <= 1e-3


def unused_tensors(family: str, names: list[str]) -> list[str]:
    text = goldens.config(family)["text_config"]
    first = text["num_hidden_layers"] - text["num_kv_shared_layers"]
    shared = [f".language_model.layers.{n}." for n in range(first, text["num_hidden_layers"])]
    return [n for n in names if n.endswith(UNUSED) and any(layer in n for layer in shared)]


@pytest.mark.parametrize("family", families.FAMILIES)
def test_sharded(family, checkpoint) -> None:
    path = checkpoint(family)
    shard_checkpoint(path, shards=4)
    assert not (path / "model.safetensors").exists()
    assert_same_model(path, family)


@pytest.mark.parametrize("family", families.FAMILIES)
def test_config_of_transformers_5_23(family, checkpoint) -> None:
    path = checkpoint(family)
    style = json.loads((path / "config_5_23.json").read_text())
    assert style["text_config"]["per_layer_config"]
    assert style["vision_config"]["rope_parameters"]["rope_type"] == "axial"
    shutil.copy(path / "config_5_23.json", path / "config.json")
    assert_same_model(path, family)


def test_without_the_unused_keys_and_values(edited) -> None:
    """Released files carry them for the layers that borrow (E2B here does), QAT files do not."""

    def drop(weights) -> None:
        unused = unused_tensors("e2b", list(weights))
        assert len(unused) == 15
        for name in unused:
            del weights[name]

    assert_same_model(edited("e2b", drop), "e2b")


def test_with_unused_keys_and_values(edited) -> None:
    def add(weights) -> None:
        assert not unused_tensors("e4b", list(weights))
        for layer in range(6, 10):
            for end in UNUSED:
                weights[f"model.language_model.layers.{layer}{end}"] = mx.ones((3, 5))

    assert_same_model(edited("e4b", add), "e4b")


@pytest.mark.parametrize("family", families.FAMILIES)
def test_text_model_saved_alone(family, edited) -> None:
    """What Gemma4ForCausalLM saves: names from ``model.layers`` on, and a flat config."""

    def keep_text(weights) -> None:
        for name in list(weights):
            tensor = weights.pop(name)
            if name.startswith("model.language_model."):
                weights["model." + name.removeprefix("model.language_model.")] = tensor

    path = edited(family, keep_text)
    text = goldens.config(family)["text_config"]
    (path / "config.json").write_text(json.dumps(text))
    model = ours.load_float32(path)
    assert not model.has_vision and not model.has_audio
    inputs = goldens.inputs(family, "text")
    assert ours.difference(ours.logits(model, inputs), goldens.logits(family, "text")) <= 1e-3


@pytest.mark.parametrize("family", families.FAMILIES)
def test_tied_output_layer_may_be_in_the_file(family, edited) -> None:
    def add(weights) -> None:
        weights["lm_head.weight"] = weights["model.language_model.embed_tokens.weight"] * 1

    assert_same_model(edited(family, add), family)


def test_dtype_of_the_file_is_kept(checkpoint) -> None:
    model = load_model(str(checkpoint("e2b")))
    logits = model(mx.array([[2, 20, 30]]))
    assert model.language_model.embed_tokens.weight.dtype == mx.bfloat16
    assert np.isfinite(np.array(logits.astype(mx.float32))).all()


@pytest.mark.parametrize("dtype", ["float32", mx.float32])
def test_dtype_can_be_chosen(checkpoint, dtype) -> None:
    model = load_model(str(checkpoint("26b")), dtype=dtype)
    assert model.language_model.embed_tokens.weight.dtype == mx.float32
    assert model(mx.array([[2, 20]])).dtype == mx.float32


def test_unknown_dtype(checkpoint) -> None:
    with pytest.raises(InputError, match="float31"):
        load_model(str(checkpoint("26b")), dtype="float31")


@pytest.mark.parametrize("family", families.FAMILIES)
def test_bfloat16_stays_close(family, checkpoint) -> None:
    """The dtype of use: the same best token nearly everywhere."""
    model = load_model(str(checkpoint(family)))
    found = np.array(model(**ours.to_mlx(goldens.inputs(family, CASE))).astype(mx.float32))
    expected = goldens.logits(family, CASE)
    assert np.isfinite(found).all()
    # Random weights amplify rounding more than trained ones: positions agree on average.
    correlation = np.corrcoef(found.flatten(), expected.flatten())[0, 1]
    assert correlation > 0.98


def test_generation_config_comes_along(checkpoint) -> None:
    path = checkpoint("e2b")
    assert load_model(str(path)).generation_config.eos_token_ids == (1, 6, 5)
    edit_json(path / "generation_config.json", eos_token_id=[6])
    assert load_model(str(path)).generation_config.eos_token_ids == (6,)
    (path / "generation_config.json").unlink()
    assert load_model(str(path)).generation_config.eos_token_ids == (1, 6)


def test_weights_under_another_file_name(checkpoint) -> None:
    path = checkpoint("31b")
    (path / "model.safetensors").rename(path / "weights.safetensors")
    assert_same_model(path, "31b")
