"""Layer by layer and side by side, every model computes what it computes alone."""

import shutil
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from gemma4_convert.convert import convert
from gemma4_convert.groups import group_of
from gemma4_convert.policy import Quantization
from gemma4_convert.report.variants import load_variants
from tests import goldens
from tests.convert.report.models import (
    every_group,
    in_our_names,
    sample,
    unpacked,
    variant_logits,
)
from tests.reference import families, ours
from tests.reference.checkpoints import copy_checkpoint, read_weights, write_weights

FOUR_BITS = Quantization(4, 32)
GROUPS_OF = {
    "e2b": {
        *("attention", "mlp", "embedding", "ple_table", "ple_projections"),
        *("vision", "audio", "vision_projector"),
    },
    "26b": {"attention", "mlp", "experts", "router", "embedding"},
}


@pytest.fixture(scope="module")
def conversions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("conversions")
    for family in families.FAMILIES:
        convert(goldens.checkpoint(family), folder / family, recipe=every_group(4))
    return {family: folder / family for family in families.FAMILIES}


@pytest.mark.parametrize("case", ["text", "mixed"])
@pytest.mark.parametrize("family", families.FAMILIES)
def test_source_and_result_give_their_own_logits(
    family: str, case: str, conversions: dict[str, Path]
) -> None:
    source, dest = goldens.checkpoint(family), conversions[family]
    logits = variant_logits(load_variants(source, dest), sample(family, case))
    for name, path in (("source", source), ("result", dest)):
        alone = ours.logits(ours.load_float32(path), goldens.inputs(family, case))[0, :-1]
        assert ours.difference(logits[name], alone) < 1e-4
    assert ours.difference(logits["source"], logits["result"]) > 0.1


@pytest.mark.parametrize("family", GROUPS_OF)
def test_a_group_alone_is_a_model_with_that_group_replaced(
    family: str, conversions: dict[str, Path], tmp_path: Path
) -> None:
    source, dest = goldens.checkpoint(family), conversions[family]
    logits = variant_logits(load_variants(source, dest), sample(family, "mixed"))
    assert logits.keys() >= GROUPS_OF[family]
    kept, replaced = in_our_names(source), unpacked(dest, FOUR_BITS)
    shutil.copy(source / "config.json", tmp_path)
    for group in logits.keys() - {"source", "result"}:
        tensors = {
            path: replaced[path] if path in replaced and group_of(path).name == group else tensor
            for path, tensor in kept.items()
        }
        mx.save_safetensors(str(tmp_path / "model.safetensors"), tensors)
        alone = ours.logits(ours.load_float32(tmp_path), goldens.inputs(family, "mixed"))[0, :-1]
        assert ours.difference(logits[group], alone) < 1e-4, group
        assert ours.difference(logits[group], logits["source"]) > 1e-3, group


def test_towers_are_not_compared_where_nothing_is_seen_or_heard(
    conversions: dict[str, Path],
) -> None:
    variants = load_variants(goldens.checkpoint("e2b"), conversions["e2b"])
    assert {"vision", "audio"} < variants.keys()
    logits = variant_logits(variants, sample("e2b", "audio"))
    assert "audio" in logits and "vision" not in logits and "vision_projector" not in logits


def test_a_result_without_towers(conversions: dict[str, Path], tmp_path: Path) -> None:
    """mlx-lm converts the text part alone, under the config of the whole model."""
    dest = copy_checkpoint(conversions["e2b"], tmp_path / "text")
    tensors = read_weights(dest)
    write_weights(dest, {n: t for n, t in tensors.items() if n.startswith("language_model.")})
    variants = load_variants(goldens.checkpoint("e2b"), dest)
    assert variants["source"].model.config.vision is None
    assert not {"vision", "audio"} & variants.keys()
    logits = variant_logits(variants, sample("e2b", "text"))
    whole = load_variants(goldens.checkpoint("e2b"), conversions["e2b"])
    for name, expected in variant_logits(whole, sample("e2b", "text")).items():
        assert np.array_equal(logits[name], expected), name


def test_another_dtype_is_a_change(tmp_path: Path) -> None:
    """The goldens are bfloat16, whose every number but the smallest float16 holds."""
    source = goldens.checkpoint("31b")
    convert(source, tmp_path / "float16", bits=4, group_size=32, dtype="float16")
    variants = load_variants(source, tmp_path / "float16")
    assert {"rest", "vision", "attention"} < variants.keys()
    logits = variant_logits(variants, sample("31b", "image"))
    assert ours.difference(logits["source"], logits["rest"]) < 1e-2
    assert np.isfinite(logits["result"]).all()


def test_a_layer_is_let_go_when_it_is_done(conversions: dict[str, Path]) -> None:
    variants = load_variants(goldens.checkpoint("e2b"), conversions["e2b"])
    variant_logits(variants, sample("e2b", "text"))
    for variant in variants.values():
        assert variant.model.language_model.layers == []
        assert "vision_tower" not in variant.model and "audio_tower" not in variant.model
