"""What the report says of good, bad and unchanged conversions."""

import json
from pathlib import Path

import numpy as np
import pytest

from gemma4_convert.convert import convert
from gemma4_convert.policy import Quantization
from gemma4_convert.recipe import Recipe, plain_recipe
from gemma4_convert.report import Report, compare, measure
from gemma4_convert.report.figures import Comparison, Figures
from gemma4_convert.report.samples import KINDS
from gemma4_convert.report.variants import load_variants
from gemma4_mlx import CheckpointError, InputError
from tests import goldens
from tests.convert.report.models import every_group, sample, variant_logits, write_random
from tests.processing import tiny
from tests.reference import families
from tests.reference.checkpoints import copy_checkpoint, edit_json


def compared(source: Path, dest: Path, family: str, case: str = "mixed") -> Comparison:
    return measure(load_variants(source, dest), [sample(family, case)])[0]


@pytest.mark.parametrize("family", families.FAMILIES)
def test_an_unquantized_conversion_costs_nothing(family: str, tmp_path: Path) -> None:
    source = goldens.checkpoint(family)
    convert(source, tmp_path / "mlx", bits=None)
    found = compared(source, tmp_path / "mlx", family)
    assert (found.result.mean_kl, found.result.p99_kl, found.result.agreement) == (0, 0, 1)
    assert found.result == found.source
    assert found.alone == {}


@pytest.mark.parametrize("family", families.FAMILIES)
def test_more_bits_hurt_less(family: str, tmp_path: Path) -> None:
    source = goldens.checkpoint(family)
    for bits in (3, 8):
        convert(source, tmp_path / str(bits), recipe=every_group(bits))
    coarse, fine = (compared(source, tmp_path / str(bits), family) for bits in (3, 8))
    assert 0 < fine.result.mean_kl < coarse.result.mean_kl / 10
    assert fine.result.agreement > coarse.result.agreement
    assert fine.alone.keys() == coarse.alone.keys()
    for group in fine.alone:
        assert 0 < fine.alone[group].mean_kl < coarse.alone[group].mean_kl, group


def test_the_group_that_hurts_is_named(tmp_path: Path) -> None:
    source = goldens.checkpoint("31b")
    groups = {name: Quantization(8, 32) for name in ("attention", "embedding")}
    convert(source, tmp_path / "x", recipe=Recipe("x", "", {**groups, "mlp": Quantization(2, 32)}))
    alone = compared(source, tmp_path / "x", "31b", "text").alone
    assert alone.keys() == {"attention", "mlp", "embedding"}
    assert max(alone, key=lambda name: alone[name].mean_kl) == "mlp"


def test_figures_are_those_of_the_logits(tmp_path: Path) -> None:
    source = goldens.checkpoint("e4b")
    convert(source, tmp_path / "x", recipe=every_group(4))
    found = compared(source, tmp_path / "x", "e4b", "text")
    it = sample("e4b", "text")
    logits = variant_logits(load_variants(source, tmp_path / "x"), it)
    scores = {name: array.astype(np.float64) for name, array in logits.items()}
    logs = {name: s - np.log(np.exp(s).sum(-1, keepdims=True)) for name, s in scores.items()}
    p = logs["source"]
    for name, figures in {**found.alone, "result": found.result}.items():
        kl = (np.exp(p) * (p - logs[name])).sum(-1)
        right = logs[name][np.arange(len(kl)), it.targets]
        assert figures.mean_kl == pytest.approx(kl.mean(), rel=1e-3)
        assert figures.p99_kl == pytest.approx(np.percentile(kl, 99), rel=1e-3)
        assert figures.agreement == (logs[name].argmax(-1) == p.argmax(-1)).mean()
        assert figures.perplexity == pytest.approx(np.exp(-right.mean()), rel=1e-4)


# --- with a tokenizer, from end to end -----------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A checkpoint that reads, sees and hears, and its 4-bit conversion."""
    folder = tmp_path_factory.mktemp("whole")
    source = write_random(folder / "source", tiny.config_dict())
    tiny.write_checkpoint(source)
    settings = tiny.processor_dict()
    settings["image_processor"]["max_soft_tokens"] = 70  # a fraction of the time
    (source / "processor_config.json").write_text(json.dumps(settings))
    convert(source, folder / "4bit", recipe=every_group(4))
    return source, folder / "4bit"


@pytest.fixture(scope="module")
def own_text(whole: tuple[Path, Path]) -> Report:
    """A report on a short text, and on the bundled pictures and recordings."""
    return compare(*whole, text="the man turned the model")


@pytest.mark.slow
def test_the_bundled_samples(whole: tuple[Path, Path]) -> None:
    heard: list[tuple[str, int, int]] = []
    report = compare(*whole, progress=lambda *told: heard.append(told))
    assert [comparison.kind for comparison in report.comparisons] == list(KINDS)
    everywhere = {"attention", "mlp", "embedding"}
    assert report.on("text").alone.keys() == everywhere
    assert report.on("pictures").alone.keys() == everywhere | {"vision"}
    assert report.on("recordings").alone.keys() == everywhere | {"audio", "audio_projector"}
    assert all(0 < comparison.result.mean_kl < 30 for comparison in report.comparisons)
    assert report.on("text").tokens > 1500 and report.on("recordings").tokens > 100

    assert all(0 <= done <= total for _, done, total in heard)
    assert {message.split()[0] for message, _, _ in heard} == {"comparing:"}
    assert len({message for message, _, _ in heard}) == 4  # towers, two layers, output layer


def test_a_text_of_one_s_own(own_text: Report) -> None:
    assert own_text.on("text").tokens < 25
    assert own_text.on("pictures").tokens > 100
    assert [note for note in own_text.notes if "not the bundled one" in note] == own_text.notes
    assert own_text.notes and own_text.notes[0] in own_text.markdown()


def test_a_text_model(tmp_path: Path) -> None:
    source = write_random(tmp_path / "source", tiny.config_dict(vision=False, audio=False))
    tiny.write_checkpoint(source)
    edit_json(source / "config.json", vision_config=None, audio_config=None)
    convert(source, tmp_path / "4bit", recipe=plain_recipe(4, 32))
    report = compare(source, tmp_path / "4bit", text="the man turned the model")
    assert [comparison.kind for comparison in report.comparisons] == ["text"]


def test_json_and_tables_say_the_same(own_text: Report) -> None:
    plain = json.loads(json.dumps(own_text.as_json(), allow_nan=False))
    assert plain["on"].keys() == set(KINDS)
    text = plain["on"]["text"]
    assert text["source"]["mean_kl"] == 0 and text["source"]["top1_agreement"] == 1
    assert text["alone"]["mlp"]["perplexity"] == own_text.on("text").alone["mlp"].perplexity
    table = own_text.markdown()
    assert f"| only: decoder MLPs | {text['alone']['mlp']['mean_kl']:.3g} |" in table
    assert "float32" in table and "nats" in table


def test_what_is_no_number_is_null() -> None:
    broken = Figures(float("nan"), float("nan"), 0.5, float("inf"))
    report = Report("a", "b", [Comparison("text", 3, broken, broken, {})], ["a remark"])
    plain = report.as_json()["on"]["text"]["result"]
    assert (plain["mean_kl"], plain["perplexity"]) == (None, None)
    assert "| nan |" in report.markdown() and "Note: a remark." in report.markdown()


# --- bad input -----------------------------------------------------------------------------------


def test_without_a_tokenizer_one_line_says_so(tmp_path: Path) -> None:
    source = goldens.checkpoint("31b")
    convert(source, tmp_path / "x", bits=4, group_size=32)
    with pytest.raises(CheckpointError, match=r"no tokenizer\.json.*without a report") as caught:
        compare(source, tmp_path / "x")
    assert "\n" not in str(caught.value)


def test_two_models_that_have_nothing_in_common(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is no conversion of"):
        load_variants(goldens.checkpoint("e2b"), goldens.checkpoint("e4b"))
    other = copy_checkpoint(goldens.checkpoint("31b"), tmp_path / "other")
    raw = json.loads((other / "config.json").read_text())
    edit_json(other / "config.json", text_config=raw["text_config"] | {"sliding_window": 5})
    with pytest.raises(CheckpointError, match="is no conversion of"):
        load_variants(goldens.checkpoint("31b"), other)


def test_an_empty_text(whole: tuple[Path, Path]) -> None:
    with pytest.raises(InputError, match="is empty"):
        compare(*whole, text="")
