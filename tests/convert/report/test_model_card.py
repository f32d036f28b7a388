"""The model card: what the hub reads of it, and what a person does."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from gemma4_convert.convert import carry_out
from gemma4_convert.plan import ConversionPlan, make_plan
from gemma4_convert.recipe import Recipe, load_recipe, unquantized
from gemma4_convert.report import Report, model_card, write_report
from gemma4_convert.report.checkpoint_name import checkpoint_name, hub_id
from gemma4_convert.report.figures import Comparison, Figures
from gemma4_convert.report.model_card import family
from gemma4_mlx import InputError
from gemma4_mlx.config import Gemma4Config
from gemma4_mlx.released import released_config
from tests import goldens
from tests.reference.checkpoints import copy_checkpoint

FIGURES = Figures(0.0123, 0.4, 0.98, 12.5)
REPORT = Report("source", "result", [Comparison("text", 100, FIGURES, FIGURES, {"mlp": FIGURES})])


@pytest.fixture
def plan(tmp_path: Path) -> ConversionPlan:
    source = copy_checkpoint(goldens.checkpoint("e2b"), tmp_path / "gemma-4-E2B-it")
    return make_plan(source, load_recipe("balanced"))


def front_matter(card: str) -> dict[str, Any]:
    start, matter, _ = card.split("---\n", 2)
    assert start == ""
    return yaml.safe_load(matter)


def test_front_matter(plan: ConversionPlan) -> None:
    assert front_matter(model_card(plan)) == {
        "library_name": "mlx",
        "license": "apache-2.0",
        "pipeline_tag": "any-to-any",
        "base_model": "google/gemma-4-E2B-it",
        "base_model_relation": "quantized",
        "tags": ["mlx", "gemma4"],
    }


def test_a_base_model_that_nobody_knows_is_not_named() -> None:
    plan = make_plan(goldens.checkpoint("31b"), unquantized())
    matter = front_matter(model_card(plan))
    assert "base_model" not in matter and "base_model_relation" not in matter


def heading(plan: ConversionPlan) -> str:
    return next(line for line in model_card(plan).splitlines() if line.startswith("# "))


def test_a_release_is_titled_by_its_hub_id(plan: ConversionPlan) -> None:
    assert heading(plan) == "# google/gemma-4-E2B-it, balanced"


@pytest.mark.parametrize("directory", ["hf", "checkpoint-500", "my-own-tune"])
def test_the_name_of_a_directory_is_told_and_no_title(directory: str, tmp_path: Path) -> None:
    source = copy_checkpoint(goldens.checkpoint("31b"), tmp_path / directory)
    plan = make_plan(source, load_recipe("balanced"))
    assert heading(plan) == "# Gemma 4, balanced"
    assert f"\n{directory} in MLX, converted by" in model_card(plan)
    config = Gemma4Config.from_dict(released_config("e4b"))
    assert heading(replace(plan, config=config)) == "# Gemma 4 E4B, balanced"


@pytest.mark.parametrize(
    ("name", "expected"), [("e2b", "E2B"), ("e4b", "E4B"), ("26b", "26B A4B"), ("31b", "31B")]
)
def test_released_sizes_are_known(name: str, expected: str) -> None:
    assert family(Gemma4Config.from_dict(released_config(name))) == f"Gemma 4 {expected}"


def test_bytes_of_every_group(plan: ConversionPlan) -> None:
    card = model_card(plan)
    for row in plan.rows():
        assert f"| {row.title} | {row.parameters:,} |" in card
    assert f"| **all** | {plan.parameters:,} | {plan.bits_per_weight:.2f} bits a weight" in card
    assert "6 bits, groups of 64" in card
    assert "What the conversion cost" not in card


def test_packed_otherwise_than_asked_is_told(plan: ConversionPlan) -> None:
    """The tiny model's widths do not suit groups of 64."""
    assert any(tensor.note for tensor in plan.tensors)
    for row in plan.rows():
        for note in row.notes:
            assert f"- {row.title}: {note}" in model_card(plan)


def test_the_figures_are_in_it(plan: ConversionPlan) -> None:
    card = model_card(plan, REPORT)
    assert "## What the conversion cost" in card
    assert "| only: decoder MLPs | 0.0123 | 0.4 | 98.0 % | 12.50 |" in card


def test_a_recipe_s_words_stay_words() -> None:
    recipe = Recipe("my|recipe", "<script>alert(1)</script>\n---\n*all*", {})
    card = model_card(make_plan(goldens.checkpoint("31b"), recipe))
    assert front_matter(card)["library_name"] == "mlx"
    assert "<script>" not in card.replace("\\<script", "")
    assert "my\\|recipe" in card and "\n---\n\\*" not in card


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("hub/models--google--gemma-4-E4B-it/snapshots/abc123", "google/gemma-4-E4B-it"),
        ("hub/models--me--my--model/snapshots/abc123", "me/my--model"),
        ("downloads/gemma-4-26b-a4b-it", "google/gemma-4-26B-A4B-it"),
        ("downloads/my-own-tune", None),
    ],
)
def test_hub_ids(path: str, expected: str | None) -> None:
    assert hub_id(Path(path)) == expected
    assert checkpoint_name(Path(path)) == (expected or "my-own-tune")


def test_every_conversion_has_one(plan: ConversionPlan, tmp_path: Path) -> None:
    carry_out(plan, tmp_path / "dest")
    assert (tmp_path / "dest" / "README.md").read_text() == model_card(plan)


def test_written_whole(plan: ConversionPlan, tmp_path: Path) -> None:
    dest = tmp_path / "dest"
    dest.mkdir()
    (dest / "README.md").write_text("an older card")
    write_report(dest, REPORT, plan)
    assert {file.name for file in dest.iterdir()} == {"report.json", "README.md"}
    assert json.loads((dest / "report.json").read_text()) == REPORT.as_json()
    assert (dest / "README.md").read_text() == model_card(plan, REPORT)


def test_what_cannot_be_written_is_told_in_one_line(plan: ConversionPlan, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written") as caught:
        write_report(tmp_path / "nowhere", REPORT, plan)
    assert "\n" not in str(caught.value)
    (tmp_path / "README.md").mkdir()  # in the way
    with pytest.raises(InputError, match="cannot be written"):
        write_report(tmp_path, REPORT, plan)
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")]
