"""MLX conversions by mlx-lm and mlx-vlm load in ours and give the logits they give there."""

import json

import mlx.core as mx
import numpy as np
import pytest

from gemma4_mlx import InputError, load_model
from tests import goldens
from tests.reference import families, ours

mlx_lm = pytest.importorskip("mlx_lm", reason="compares with mlx-lm's own conversions")

QUANTIZED = {"group_size": 32, "bits": 4}
TOLERANCE = 2e-3  # both sides round: theirs is another order of the same operations


def conversions():
    return pytest.importorskip(
        "tests.reference.conversions", reason="compares with the peers' own conversions"
    )


def vlm():
    pytest.importorskip("mlx_vlm", reason="compares with mlx-vlm's own conversions")
    return conversions()


def text_ids(family: str) -> mx.array:
    return ours.to_mlx(goldens.inputs(family, "text"))["input_ids"]


@pytest.fixture
def float32(checkpoint):
    """A family's checkpoint in float32, so that both sides compute in it."""
    from tests.reference.checkpoints import read_weights, write_weights

    def copy(family: str):
        path = checkpoint(family, "source")
        weights = {k: v.astype(mx.float32) for k, v in read_weights(path).items()}
        write_weights(path, weights)
        return path

    return copy


@pytest.mark.parametrize("quantization", [{}, QUANTIZED], ids=["plain", "4bit"])
@pytest.mark.parametrize("family", families.FAMILIES)
def test_mlx_lm_text_only(family, quantization, float32, tmp_path) -> None:
    theirs = conversions().with_mlx_lm(float32(family), tmp_path / "mlx", **quantization)
    assert not any("vision" in name for name in conversions().names(theirs))
    model = load_model(str(tmp_path / "mlx"))
    assert not model.has_vision and not model.has_audio
    ids = text_ids(family)
    assert ours.difference(np.array(model(ids)), np.array(theirs(ids))) <= TOLERANCE
    if quantization:
        assert json.loads((tmp_path / "mlx/config.json").read_text())["quantization"]["bits"] == 4
        assert not np.allclose(np.array(theirs(ids)), goldens.logits(family, "text"), atol=0.01)
    with pytest.raises(InputError, match="vision"):
        model(**ours.to_mlx(goldens.inputs(family, "image")))


def test_mlx_lm_router_has_its_own_bits(float32, tmp_path) -> None:
    """mlx-lm keeps ``router.proj`` at 8 bits in groups of 64 whatever the default."""
    conversions().with_mlx_lm(float32("26b"), tmp_path / "mlx", **QUANTIZED)
    model = load_model(str(tmp_path / "mlx"))
    layer = model.language_model.layers[0]
    assert (layer.router.proj.bits, layer.router.proj.group_size) == (8, 64)
    assert (layer.mlp.up_proj.bits, layer.mlp.up_proj.group_size) == (4, 32)


@pytest.mark.parametrize("family", families.FAMILIES)
def test_mlx_vlm_plain(family, float32, tmp_path) -> None:
    """With the towers: every case of the goldens, so their tensors are found as well."""
    theirs = vlm().with_mlx_vlm(float32(family), tmp_path / "mlx")
    model = load_model(str(tmp_path / "mlx"))
    ids = text_ids(family)
    assert ours.difference(np.array(model(ids)), np.array(theirs(ids).logits)) <= TOLERANCE
    for name, case in goldens.CASES:
        if name == family:
            found = ours.logits(model, goldens.inputs(family, case))
            assert ours.difference(found, goldens.logits(family, case)) <= 1e-3, case


@pytest.mark.parametrize("ple", ["flash", "memory"])
@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param({}, id="uniform"),
        pytest.param(
            {
                "mlp.down_proj": {"group_size": 32, "bits": 8},
                "embed_tokens": {"group_size": 32, "bits": 6},
                "per_layer_model_projection": {"group_size": 64, "bits": 8},
            },
            id="overrides",
        ),
    ],
)
@pytest.mark.parametrize("family", families.FAMILIES)
def test_mlx_vlm_quantized(family, overrides, ple, float32, tmp_path) -> None:
    theirs = vlm().with_mlx_vlm(float32(family), tmp_path / "mlx", overrides, **QUANTIZED)
    written = json.loads((tmp_path / "mlx/config.json").read_text())["quantization"]
    assert bool([key for key in written if "." in key]) == bool(overrides)
    model = load_model(str(tmp_path / "mlx"), ple=ple)
    ids = text_ids(family)
    expected = np.array(theirs(ids).logits)
    assert ours.difference(np.array(model(ids)), expected) <= TOLERANCE
    assert not np.allclose(expected, goldens.logits(family, "text"), atol=0.01)
    assert model.has_vision
    ours.logits(model, goldens.inputs(family, "mixed"))  # the towers stay in full precision


@pytest.mark.parametrize("mode,group_size", [("mxfp4", 32), ("nvfp4", 16), ("mxfp8", 32)])
@pytest.mark.parametrize("family", ["e4b", "26b"])
def test_other_quantization_modes(family, mode, group_size, float32, tmp_path) -> None:
    """Microscaling formats have scales but no biases.

    On 26B the router's override in config.json has a group size and bits, but no mode: it is
    affine, whatever the default.
    """
    settings = {"group_size": group_size, "bits": 8 if mode == "mxfp8" else 4, "mode": mode}
    theirs = conversions().with_mlx_lm(float32(family), tmp_path / "mlx", **settings)
    model = load_model(str(tmp_path / "mlx"), ple="flash")
    ids = text_ids(family)
    assert ours.difference(np.array(model(ids)), np.array(theirs(ids))) <= TOLERANCE
    layer = model.language_model.layers[0]
    assert layer.mlp.up_proj.mode == mode
    if family == "26b":
        router = layer.router.proj
        assert (router.mode, router.bits, router.group_size) == ("affine", 8, 64)


@pytest.mark.parametrize("family", families.FAMILIES)
def test_quantized_in_bfloat16(family, checkpoint, tmp_path) -> None:
    """What people download: packed weights, everything else in bfloat16."""
    theirs = conversions().with_mlx_lm(checkpoint(family), tmp_path / "mlx", **QUANTIZED)
    model = load_model(str(tmp_path / "mlx"))
    ids = text_ids(family)
    found, expected = (np.array(side(ids).astype(mx.float32)) for side in (model, theirs))
    assert np.corrcoef(found.flatten(), expected.flatten())[0, 1] > 0.98


def test_quantized_without_settings(float32, tmp_path) -> None:
    """Packed weights whose bits no config tells cannot be guessed."""
    from gemma4_mlx import CheckpointError
    from tests.reference.checkpoints import edit_json

    conversions().with_mlx_lm(float32("e4b"), tmp_path / "mlx", **QUANTIZED)
    edit_json(tmp_path / "mlx/config.json", quantization=None, quantization_config=None)
    with pytest.raises(CheckpointError, match=r"quantiz|unexpected"):
        load_model(str(tmp_path / "mlx"))
