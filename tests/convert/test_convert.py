"""A conversion computes what its source computes, in every reader it is meant for."""

import json
import shutil
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from gemma4_convert.convert import convert
from gemma4_convert.recipe import Recipe
from gemma4_mlx import CheckpointError, InputError, load_model
from tests import goldens
from tests.reference import families
from tests.reference.checkpoints import copy_checkpoint, read_weights, write_weights


def logits(path: Path, family: str, case: str = "mixed") -> np.ndarray:
    model = load_model(path, dtype="float32")
    inputs = {name: mx.array(value) for name, value in goldens.inputs(family, case).items()}
    return np.array(model(**inputs))


def written_config(path: Path) -> dict[str, Any]:
    return json.loads((path / "config.json").read_text())


@pytest.mark.parametrize("family", families.FAMILIES)
def test_unquantized_gives_the_same_logits(family: str, tmp_path: Path) -> None:
    source, dest = goldens.checkpoint(family), tmp_path / "mlx"
    convert(source, dest, bits=None)
    assert np.array_equal(logits(dest, family), logits(source, family))
    assert "quantization" not in written_config(dest)
    # What is an MLX checkpoint already, and whole, may be converted again.
    convert(dest, tmp_path / "again", bits=None)
    assert read_weights(dest).keys() == read_weights(tmp_path / "again").keys()


@pytest.mark.parametrize("family", families.FAMILIES)
def test_8_bits_are_close(family: str, tmp_path: Path) -> None:
    source, dest = goldens.checkpoint(family), tmp_path / "mlx"
    convert(source, dest, bits=8, group_size=32)
    exact, close = logits(source, family), logits(dest, family)
    assert not np.array_equal(exact, close)
    assert np.corrcoef(exact.ravel(), close.ravel())[0, 1] > 0.95


def test_layout_of_mlx_vlm(tmp_path: Path) -> None:
    convert(goldens.checkpoint("e2b"), tmp_path / "e2b", bits=None)
    convert(goldens.checkpoint("26b"), tmp_path / "26b", bits=None)
    small, moe = read_weights(tmp_path / "e2b"), read_weights(tmp_path / "26b")

    assert "language_model.model.embed_tokens.weight" in small
    assert not any(name.startswith(("model.", "lm_head")) for name in small | moe)
    # The committed e2b has k and v tensors that nothing reads; they are left out.
    assert "language_model.model.layers.9.self_attn.q_proj.weight" in small
    assert "language_model.model.layers.9.self_attn.k_proj.weight" not in small
    # Convolutions have their channels last.
    convolution = "audio_tower.subsample_conv_projection.layer{}.conv.weight"
    assert small[convolution.format(0)].shape == (128, 3, 3, 1)
    assert small[convolution.format(1)].shape == (4, 3, 3, 128)
    assert small["audio_tower.layers.0.lconv1d.depthwise_conv1d.weight"].shape[1:] == (5, 1)
    # Experts: gate is the first half of the rows, up the second.
    source = read_weights(goldens.checkpoint("26b"))
    fused = source["model.language_model.layers.0.experts.gate_up_proj"]
    experts = "language_model.model.layers.0.experts.switch_glu"
    assert mx.array_equal(moe[f"{experts}.gate_proj.weight"], fused[:, : fused.shape[1] // 2])
    assert mx.array_equal(moe[f"{experts}.up_proj.weight"], fused[:, fused.shape[1] // 2 :])


def test_every_exception_is_in_config_json(tmp_path: Path) -> None:
    """Tiny widths: 32 takes groups of 32, not 64; 16 stays as it is; the router has 8 bits."""
    convert(goldens.checkpoint("e2b"), tmp_path / "e2b", bits=4, group_size=64)
    convert(goldens.checkpoint("26b"), tmp_path / "26b", bits=4, group_size=64)
    for family in ("e2b", "26b"):
        tensors = read_weights(tmp_path / family)
        settings = written_config(tmp_path / family)["quantization"]
        assert (settings["bits"], settings["group_size"], settings["mode"]) == (4, 64, "affine")
        for name in tensors:
            if not name.endswith(".scales"):
                continue
            module = name.removesuffix(".scales")
            chosen = settings.get(module, settings)
            packed, scales = tensors[f"{module}.weight"], tensors[name]
            width = packed.shape[-1] * 32 // chosen["bits"]
            assert width == scales.shape[-1] * chosen["group_size"]
        for module, chosen in settings.items():
            if chosen is False:
                assert f"{module}.scales" not in tensors
                assert f"{module}.weight" in tensors
    small = written_config(tmp_path / "e2b")["quantization"]
    layer = "language_model.model.layers.0"
    assert small[f"{layer}.per_layer_projection"] is False
    assert small[f"{layer}.self_attn.o_proj"]["group_size"] == 32
    assert f"{layer}.self_attn.q_proj" not in small
    moe = written_config(tmp_path / "26b")["quantization"]
    assert moe[f"{layer}.router.proj"]["bits"] == 8
    assert not any(name.startswith(("vision", "audio", "embed_")) for name in small)


@pytest.mark.parametrize(("mode", "bits", "group"), [("mxfp4", 4, 32), ("nvfp4", 4, 16)])
def test_other_modes_load(mode: str, bits: int, group: int, tmp_path: Path) -> None:
    convert(goldens.checkpoint("31b"), tmp_path / "x", bits=bits, group_size=group, mode=mode)
    assert np.isfinite(logits(tmp_path / "x", "31b")).all()


def test_dtype(tmp_path: Path) -> None:
    convert(goldens.checkpoint("31b"), tmp_path / "x", bits=4, group_size=32, dtype="float16")
    tensors = read_weights(tmp_path / "x")
    assert {tensor.dtype for tensor in tensors.values()} == {mx.float16, mx.uint32}
    assert written_config(tmp_path / "x")["text_config"]["dtype"] == "float16"


def test_recipes(tmp_path: Path) -> None:
    """By name, as an object, from a file; packed towers too give nearly the same logits."""
    exact = logits(goldens.checkpoint("e2b"), "e2b")
    convert(goldens.checkpoint("e2b"), tmp_path / "8bit", recipe="8bit")
    close = logits(tmp_path / "8bit", "e2b")
    assert not np.array_equal(exact, close)
    assert np.corrcoef(exact.ravel(), close.ravel())[0, 1] > 0.95
    assert any(name.startswith("audio_tower") for name in packed_modules(tmp_path / "8bit"))

    (tmp_path / "mine.toml").write_text("[groups]\nmlp = { mode = 'mxfp8' }")
    convert(goldens.checkpoint("e2b"), tmp_path / "mine", recipe=tmp_path / "mine.toml")
    assert all(".mlp." in name for name in packed_modules(tmp_path / "mine"))

    recipe = Recipe("x", "", {}, "float32")
    done = convert(goldens.checkpoint("e2b"), tmp_path / "x", recipe=recipe, dtype="float16")
    assert {tensor.dtype for tensor in read_weights(tmp_path / "x").values()} == {mx.float16}
    assert (done.dest, done.plan.recipe.dtype) == (tmp_path / "x", "float16")
    with pytest.raises(InputError, match="give one of them"):
        convert(goldens.checkpoint("e2b"), tmp_path / "y", recipe="8bit", bits=4)


def packed_modules(path: Path) -> set[str]:
    names = read_weights(path)
    return {name.removesuffix(".scales") for name in names if name.endswith(".scales")}


def test_the_model_s_other_files_come_along(tmp_path: Path) -> None:
    """What is mended in them is said; the notes beside them stay behind."""
    source = copy_checkpoint(goldens.checkpoint("31b"), tmp_path / "source")
    (source / "notes.json").write_text("{}")
    (source / "tokenizer_config.json").write_text('{"model_max_length": 7}')
    (source / "generation_config.json").unlink()
    done = convert(source, tmp_path / "mlx", bits=None)
    assert json.loads((tmp_path / "mlx/tokenizer_config.json").read_text())["model_max_length"] == 7
    assert not (tmp_path / "mlx" / "notes.json").exists()
    assert any("processor_config.json" in told for told in done.mended)
    assert (tmp_path / "mlx" / "processor_config.json").exists()


@pytest.mark.slow
def test_mlx_4bit_is_what_mlx_vlm_makes(tmp_path: Path) -> None:
    """The same modules in the same bits, and the same numbers in them."""
    from mlx.utils import tree_flatten
    from mlx_vlm.quant_utils import quantize_model
    from mlx_vlm.utils import load_model as load_in_mlx_vlm
    from mlx_vlm.utils import skip_multimodal_module

    for family in families.FAMILIES:
        convert(goldens.checkpoint(family), tmp_path / family, recipe="mlx-4bit", dtype="float32")
        convert(goldens.checkpoint(family), tmp_path / "whole", bits=None, dtype="float32")
        theirs = load_in_mlx_vlm(tmp_path / "whole")

        def packs(path: str, module: Any, model: Any = theirs) -> Any:
            return not skip_multimodal_module(path) and model.quant_predicate(path, module)

        theirs, config = quantize_model(theirs, {}, 64, 4, quant_predicate=packs)
        expected: dict[str, mx.array] = dict(tree_flatten(theirs.parameters()))
        found = read_weights(tmp_path / family)
        scaled = {name for name in expected if name.endswith(".scales")}
        assert scaled and scaled == {name for name in found if name.endswith(".scales")}
        for name in scaled:
            for part in ("weight", "scales", "biases"):
                key = name.replace("scales", part)
                assert mx.array_equal(found[key], expected[key]), key
        ours = written_config(tmp_path / family)["quantization"]
        assert {key: ours[key] for key in ("bits", "group_size")} == {"bits": 4, "group_size": 64}
        overrides = {
            key for key, value in config["quantization"].items() if isinstance(value, dict)
        }
        assert overrides == {key for key, value in ours.items() if isinstance(value, dict)}
        shutil.rmtree(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("bits", [None, 4])
@pytest.mark.parametrize("family", families.FAMILIES)
def test_mlx_vlm_reads_it(family: str, bits: int | None, tmp_path: Path) -> None:
    from mlx_vlm.utils import load_model as load_in_mlx_vlm

    convert(goldens.checkpoint(family), tmp_path / "mlx", bits=bits, group_size=32, dtype="float32")
    theirs = load_in_mlx_vlm(tmp_path / "mlx")
    ids = mx.array(goldens.inputs(family, "text")["input_ids"])
    out = np.array(theirs(ids).logits)
    assert np.abs(out - logits(tmp_path / "mlx", family, "text")).max() < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("family", families.FAMILIES)
def test_mlx_lm_reads_its_text_part(family: str, tmp_path: Path) -> None:
    from mlx_lm.utils import load_model as load_in_mlx_lm

    convert(goldens.checkpoint(family), tmp_path / "mlx", bits=4, group_size=32, dtype="float32")
    theirs, _ = load_in_mlx_lm(tmp_path / "mlx")
    ids = mx.array(goldens.inputs(family, "text")["input_ids"])
    assert np.abs(np.array(theirs(ids)) - logits(tmp_path / "mlx", family, "text")).max() < 1e-3


# --- bad input ---------------------------------------------------------------------------------


def test_a_quantized_source_is_refused(tmp_path: Path) -> None:
    convert(goldens.checkpoint("31b"), tmp_path / "4bit", bits=4, group_size=32)
    with pytest.raises(CheckpointError, match="quantized already"):
        convert(tmp_path / "4bit", tmp_path / "again", bits=8, group_size=32)
    assert not (tmp_path / "again").exists()


def test_an_existing_destination_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="exists"):
        convert(goldens.checkpoint("31b"), tmp_path, bits=None)
    assert list(tmp_path.iterdir()) == []


def test_unknown_dtype_and_bits_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="dtype 'int8' is unknown"):
        convert(goldens.checkpoint("31b"), tmp_path / "x", bits=None, dtype="int8")
    with pytest.raises(InputError, match="9 bits"):
        convert(goldens.checkpoint("31b"), tmp_path / "x", bits=9)


def test_a_damaged_source_leaves_nothing(tmp_path: Path) -> None:
    source = copy_checkpoint(goldens.checkpoint("31b"), tmp_path / "source")
    weights = read_weights(source)
    del weights["model.language_model.norm.weight"]
    write_weights(source, weights)
    with pytest.raises(CheckpointError, match=r"language_model\.norm\.weight"):
        convert(source, tmp_path / "mlx", bits=4)

    shutil.copy(goldens.checkpoint("31b") / "model.safetensors", source)
    with (source / "model.safetensors").open("r+b") as file:
        file.truncate(20_000)
    with pytest.raises(CheckpointError, match="cut short"):
        convert(source, tmp_path / "mlx", bits=4)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
