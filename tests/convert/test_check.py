"""A conversion read back: a good one has no problems, and every kind of damage has one line."""

from collections.abc import Callable
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from gemma4_convert.check import check_conversion
from gemma4_convert.convert import carry_out
from gemma4_convert.plan import ConversionPlan, make_plan
from gemma4_convert.policy import AFFINE_BITS, FIXED_MODES, Quantization
from gemma4_convert.recipe import Recipe, load_recipe, plain_recipe, shipped_recipes, unquantized
from gemma4_mlx.loading.dtypes import STORED_DTYPES
from tests import goldens
from tests.convert.planned import source_in
from tests.reference.checkpoints import copy_checkpoint, read_weights, write_weights

LAYER = "language_model.model.layers.0"
RECIPES = [
    *shipped_recipes().values(),
    *(plain_recipe(bits, 32) for bits in AFFINE_BITS),
    *(plain_recipe(None, mode=mode) for mode in FIXED_MODES),
    unquantized(),
    unquantized("float16"),
]


def spoilt(tmp_path: Path) -> Path:
    """A copy to spoil, without the goldens beside it."""
    source = copy_checkpoint(goldens.checkpoint("31b"), tmp_path / "source")
    (source / "expected.safetensors").unlink()
    return source


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_good_conversions_have_no_problems(recipe: Recipe, tmp_path: Path) -> None:
    for family in ("e2b", "26b"):  # convolutions and clip bounds; experts
        plan = make_plan(goldens.checkpoint(family), recipe)
        carry_out(plan, tmp_path / family)
        assert check_conversion(plan, tmp_path / family) == []


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("shape", ["spikes", "shifted", "tiny", "constant", "zero"])
def test_odd_numbers_have_no_problems(shape: str, dtype: str, tmp_path: Path) -> None:
    """The bounds are those of packing, not those of numbers that happen to be normal."""
    source = spoilt(tmp_path)
    weights = read_weights(source)
    for name, weight in weights.items():
        noise = mx.random.normal(weight.shape)
        odd = {
            "spikes": mx.where(mx.random.uniform(shape=weight.shape) < 0.01, noise * 30, noise),
            "shifted": noise * 0.01 + 1,
            "tiny": noise * 1e-6,
            "constant": mx.full(weight.shape, -0.3),
            "zero": mx.zeros(weight.shape),
        }[shape]
        weights[name] = odd.astype(mx.bfloat16)
    write_weights(source, weights)
    for bits in (2, 8):
        mlp, table = Quantization(bits, 32), Quantization(*FIXED_MODES["nvfp4"], "nvfp4")
        recipe = Recipe("x", "", {"mlp": mlp, "attention": table}, dtype)
        plan = make_plan(source, recipe)
        carry_out(plan, tmp_path / "mlx", force=True)
        assert check_conversion(plan, tmp_path / "mlx") == []


@pytest.fixture
def converted(tmp_path: Path) -> tuple[ConversionPlan, Path]:
    plan = make_plan(goldens.checkpoint("26b"), load_recipe("balanced"))
    carry_out(plan, tmp_path / "mlx")
    return plan, tmp_path / "mlx"


def swap_gate_and_up(weights: dict[str, mx.array]) -> None:
    base = f"{LAYER}.experts.switch_glu"
    for part in ("weight", "scales", "biases"):
        gate, up = f"{base}.gate_proj.{part}", f"{base}.up_proj.{part}"
        weights[gate], weights[up] = weights[up], weights[gate]


def one_code_off(weights: dict[str, mx.array]) -> None:
    codes = weights[f"{LAYER}.mlp.up_proj.weight"]
    codes[5, 0] = codes[5, 0] ^ mx.array(0x8, mx.uint32)


def not_a_number(weights: dict[str, mx.array]) -> None:
    weights[f"{LAYER}.mlp.up_proj.scales"][0, 0] = float("nan")


def kept_not_finite(weights: dict[str, mx.array]) -> None:
    weights["language_model.model.norm.weight"][3] = float("inf")


def kept_changed(weights: dict[str, mx.array]) -> None:
    weights["language_model.model.norm.weight"][3] += 0.5


def other_dtype(weights: dict[str, mx.array]) -> None:
    name = "language_model.model.norm.weight"
    weights[name] = weights[name].astype(mx.float32)


def missing(weights: dict[str, mx.array]) -> None:
    del weights["language_model.model.norm.weight"]


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (swap_gate_and_up, ["gate_proj.weight: ", "up_proj.weight: "]),
        (one_code_off, [f"{LAYER}.mlp.up_proj.weight: "]),
        (not_a_number, [f"{LAYER}.mlp.up_proj.weight: unpacks to numbers that are not finite"]),
        (kept_not_finite, ["norm.weight: holds numbers that are not finite"]),
        (kept_changed, ["norm.weight: is not the source's"]),
        (other_dtype, ["norm.weight is F32 (64,), planned BF16 (64,)"]),
        (missing, ["1 missing: language_model.norm.weight"]),
    ],
)
def test_damage_is_found(
    damage: Callable[[dict[str, mx.array]], None],
    told: list[str],
    converted: tuple[ConversionPlan, Path],
) -> None:
    plan, path = converted
    weights = read_weights(path)
    damage(weights)
    write_weights(path, weights)
    problems = check_conversion(plan, path)
    assert len(problems) == len(told), problems
    for problem, words in zip(problems, told, strict=True):
        assert words in problem and "\n" not in problem


@pytest.mark.parametrize("dtype", ["float32", "float16", "mixed"])
def test_sources_of_every_dtype_have_no_problems(dtype: str, tmp_path: Path) -> None:
    source = source_in(dtype, "e2b", tmp_path / "source")
    for recipe in (load_recipe("balanced"), plain_recipe(None, mode="mxfp8"), unquantized()):
        plan = make_plan(source, recipe)
        carry_out(plan, tmp_path / "mlx", force=True)
        assert check_conversion(plan, tmp_path / "mlx") == []


def test_bounds_that_do_not_clip_are_no_problem(tmp_path: Path) -> None:
    """Infinite clip bounds, as an untrained model has them; a NaN is no bound."""
    source = copy_checkpoint(goldens.checkpoint("e2b"), tmp_path / "source")
    (source / "expected.safetensors").unlink()
    weights = read_weights(source)
    for name in weights:
        if name.endswith((".input_min", ".output_max")):
            weights[name] = mx.array(float("inf" if "max" in name else "-inf"), mx.bfloat16)
    write_weights(source, weights)
    plan = make_plan(source, load_recipe("balanced"))
    carry_out(plan, tmp_path / "mlx")
    assert check_conversion(plan, tmp_path / "mlx") == []

    written = read_weights(tmp_path / "mlx")
    bound = next(name for name in written if name.endswith(".input_min"))
    written[bound] = mx.array(float("nan"), mx.bfloat16)
    write_weights(tmp_path / "mlx", written)
    assert check_conversion(plan, tmp_path / "mlx") == [
        f"{bound}: holds numbers that are not finite (rows from 0)"
    ]


def test_a_source_that_is_not_finite_is_found(tmp_path: Path) -> None:
    """Conversions of today refuse it; one that was made by others may have packed it."""
    plan = make_plan(spoilt(tmp_path), plain_recipe(4, 32))
    carry_out(plan, tmp_path / "mlx")
    tensor = next(t for t in plan.tensors if t.name.endswith("layers.0.mlp.up_proj.weight"))
    for number in (float("nan"), float("inf")):
        bits = np.array(
            mx.array([number]).astype(STORED_DTYPES[tensor.source.dtype].mlx).view(mx.uint8)
        )
        with tensor.source.file.open("r+b") as file:
            file.seek(tensor.source.start)
            file.write(bits.tobytes())
        (problem,) = check_conversion(plan, tmp_path / "mlx")
        assert problem.startswith(tensor.name) and "the source is not finite" in problem


def test_a_result_that_is_gone(converted: tuple[ConversionPlan, Path], tmp_path: Path) -> None:
    plan, path = converted
    (path / "model.safetensors").unlink()
    (problem,) = check_conversion(plan, path)
    assert "model.safetensors" in problem


def test_progress_counts_weights(converted: tuple[ConversionPlan, Path]) -> None:
    plan, path = converted
    seen: list[tuple[int, int]] = []
    check_conversion(plan, path, lambda done, total: seen.append((done, total)))
    assert seen[0] == (0, plan.parameters) and seen[-1] == (plan.parameters, plan.parameters)
    assert sorted(seen) == seen
