"""A plan is worked out from headers and is what gets written, to the byte."""

from pathlib import Path
from typing import Any

import pytest

from gemma4_convert.convert import carry_out
from gemma4_convert.plan import ConversionPlan, make_plan, plan_of_config
from gemma4_convert.policy import Quantization
from gemma4_convert.recipe import Recipe, load_recipe, plain_recipe, shipped_recipes, unquantized
from gemma4_mlx.errors import CheckpointError
from gemma4_mlx.loading.safetensors_file import checkpoint_tensors
from gemma4_mlx.released import RELEASED
from tests import goldens
from tests.convert.released_headers import headers_of
from tests.reference.checkpoints import copy_checkpoint, edit_json

RECIPES = [
    *shipped_recipes().values(),
    plain_recipe(4),
    plain_recipe(3, 128),
    plain_recipe(None, mode="mxfp4"),
    plain_recipe(None, mode="mxfp8"),
    plain_recipe(None, mode="nvfp4"),
    unquantized(),
    unquantized("float32"),
]


@pytest.mark.parametrize("family", RELEASED)
def test_a_released_model_from_its_header(family: str, tmp_path: Path) -> None:
    source = headers_of(family, tmp_path / family)
    recipe = load_recipe("balanced")
    plan = make_plan(source, recipe)
    # The published counts, without the borrowed keys and values that nothing uses.
    assert plan.parameters == {
        "e2b": 5_104_298_467, "e4b": 7_941_101_802, "26b": 25_805_936_206, "31b": 31_273_088_876,
    }[family]  # fmt: skip
    # Without the files, from config.json alone, the same.
    alone = plan_of_config(family, plan.config, recipe)
    assert {tensor.path: tensor.parts for tensor in plan.tensors} == {
        tensor.path: tensor.parts for tensor in alone.tensors
    }
    assert plan.rows() == alone.rows()
    assert plan.quantization_config() == alone.quantization_config()


def test_the_halves_of_the_experts(tmp_path: Path) -> None:
    plan = make_plan(headers_of("26b", tmp_path / "26b"), plain_recipe(4, 128))
    named = {tensor.path: tensor for tensor in plan.tensors}
    experts = "language_model.layers.0.experts.switch_glu"
    gate, up = named[f"{experts}.gate_proj.weight"], named[f"{experts}.up_proj.weight"]
    assert (gate.shape, gate.rows) == ((128, 704, 2816), (0, 704))
    assert (up.shape, up.rows) == ((128, 704, 2816), (704, 1408))
    assert gate.source == up.source
    down = named[f"{experts}.down_proj.weight"]
    assert (down.shape, down.rows) == ((128, 2816, 704), None)
    # 704 is no multiple of 128.
    assert down.quantization == Quantization(4, 64)
    (row,) = (row for row in plan.rows() if row.name == "experts")
    assert row.notes == ("30 × width 704 is no multiple of 128: groups of 64",)
    assert row.packed == {Quantization(4, 128): 60, Quantization(4, 64): 30}
    assert plan.flash_bytes == 0


def test_the_table_on_flash_is_not_in_use(tmp_path: Path) -> None:
    plan = make_plan(headers_of("e2b", tmp_path / "e2b"), plain_recipe(4))
    assert plan.flash_bytes == 262_144 * 8960 * 9 // 16  # 4.5 bits each
    assert plan.bytes_in_use == plan.total_bytes - plan.flash_bytes


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
@pytest.mark.parametrize("family", ["e2b", "26b"])
def test_what_is_planned_is_what_is_written(family: str, recipe: Recipe, tmp_path: Path) -> None:
    plan = make_plan(goldens.checkpoint(family), recipe)
    carry_out(plan, tmp_path / "mlx")
    written = checkpoint_tensors(tmp_path / "mlx")
    planned = {name: part for tensor in plan.tensors for name, part in tensor.parts.items()}
    assert {name: (info.dtype, info.shape, info.nbytes) for name, info in written.items()} == {
        name: (part.dtype, part.shape, part.nbytes) for name, part in planned.items()
    }
    assert plan.total_bytes == sum(info.nbytes for info in written.values())


def test_rows_add_up() -> None:
    plan = make_plan(goldens.checkpoint("e2b"), load_recipe("balanced"))
    rows = plan.rows()
    assert sum(row.nbytes for row in rows) == plan.total_bytes
    assert sum(row.parameters for row in rows) == plan.parameters
    assert sum(row.tensors for row in rows) == len(plan.tensors)
    for row in rows:
        assert sum(row.packed.values()) == row.tensors
    assert plan.bits_per_weight == 8 * plan.total_bytes / plan.parameters


def quantization_of(plan: ConversionPlan) -> dict[str, Any]:
    settings = plan.quantization_config()
    assert settings is not None
    return settings


def test_config_json_names_what_differs_from_the_default() -> None:
    settings = quantization_of(make_plan(goldens.checkpoint("26b"), load_recipe("balanced")))
    assert (settings["bits"], settings["group_size"], settings["mode"]) == (4, 64, "affine")
    layer = "language_model.model.layers.0"
    assert settings["language_model.model.embed_tokens"]["bits"] == 6
    assert settings[f"{layer}.router.proj"]["bits"] == 8
    assert f"{layer}.mlp.gate_proj" not in settings
    assert settings[f"{layer}.mlp.down_proj"] == {"bits": 4, "group_size": 32, "mode": "affine"}
    assert make_plan(goldens.checkpoint("26b"), unquantized()).quantization_config() is None


def test_the_default_is_that_of_most_weights() -> None:
    """Modules that a recipe keeps need no entry, and no tensor's bits come from a guess."""
    recipe = Recipe("x", "", {"router": Quantization(8, 64), "experts": Quantization(3, 32)})
    settings = quantization_of(make_plan(goldens.checkpoint("26b"), recipe))
    assert settings["bits"] == 3
    assert all("router" in name for name in settings if "." in name)


# --- bad sources ---------------------------------------------------------------------------------


def test_a_quantized_source(tmp_path: Path) -> None:
    plan = make_plan(goldens.checkpoint("31b"), plain_recipe(4, 32))
    carry_out(plan, tmp_path / "4bit")
    with pytest.raises(CheckpointError, match="quantized already: convert the checkpoint it was"):
        make_plan(tmp_path / "4bit", unquantized())
    # Whoever takes the entry out of config.json does not get past that.
    edit_json(tmp_path / "4bit" / "config.json", quantization=None)
    with pytest.raises(CheckpointError, match="quantized already"):
        make_plan(tmp_path / "4bit", unquantized())


def test_sources_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"config\.json is missing"):
        make_plan(tmp_path, unquantized())
    source = copy_checkpoint(goldens.checkpoint("31b"), tmp_path / "x", model_type="llama")
    with pytest.raises(CheckpointError, match="'llama'"):
        make_plan(source, unquantized())
