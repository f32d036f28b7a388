"""Logits and greedy tokens equal to transformers', for every family and modality.

The goldens are compared always; with torch installed, larger models with the released head sizes
and other random numbers are compared live.
"""

from collections.abc import Callable
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten, tree_unflatten

from gemma4_mlx.model import Gemma4Model
from tests import goldens
from tests.reference import families, ours
from tests.reference.inputs import case_names, left_pad, make_case

TOLERANCE = 1e-3
LIVE_SEED = 2026
# Of other rows: with some, transformers' own logits in a batch and alone differ by half the bound.
BATCH_SEED = LIVE_SEED + 9


@pytest.fixture(scope="module")
def golden_model() -> Callable[[str], Gemma4Model]:
    """Our model of a committed checkpoint, loaded once."""
    loaded: dict[str, Gemma4Model] = {}

    def model(family: str) -> Gemma4Model:
        if family not in loaded:
            loaded[family] = ours.load_float32(goldens.checkpoint(family))
        return loaded[family]

    return model


def test_goldens_are_complete() -> None:
    assert [family for family, _ in goldens.CASES if _ == "text"] == list(families.FAMILIES)
    for family in families.FAMILIES:
        assert tuple(goldens.meta(family)["case_seeds"]) == case_names(family)


@pytest.mark.parametrize("family,case", goldens.CASES)
def test_logits_equal_the_goldens(family, case, golden_model) -> None:
    expected = goldens.logits(family, case)
    found = ours.logits(golden_model(family), goldens.inputs(family, case))
    assert ours.difference(found, expected) <= TOLERANCE


@pytest.mark.parametrize("family,case", goldens.CASES)
def test_token_types_are_derived_from_the_ids(family, case, golden_model) -> None:
    inputs = goldens.inputs(family, case)
    found = ours.logits(golden_model(family), inputs, derive_types=True)
    assert ours.difference(found, goldens.logits(family, case)) <= TOLERANCE


@pytest.mark.parametrize("family,case", goldens.CASES)
def test_greedy_tokens_equal_the_goldens(family, case, golden_model) -> None:
    inputs = goldens.inputs(family, case)
    found = ours.greedy(golden_model(family), inputs, goldens.GREEDY_TOKENS)
    assert found == [goldens.greedy(family, case)]


@pytest.mark.slow
@pytest.mark.parametrize("family", families.FAMILIES)
def test_goldens_notice_every_tensor(family) -> None:
    """Any tensor changed at random changes the logits beyond the tolerance: none could be ignored.

    Except the last layer's scalar, which the final norm takes out again.
    """
    model = ours.load_float32(goldens.checkpoint(family))
    cases = [case for name, case in goldens.CASES if name == family][::-1]
    random, unseen = np.random.RandomState(1), []
    for name, tensor in tree_flatten(model.parameters()):
        noise = mx.array(random.uniform(0.5, 1.5, tensor.shape), dtype=tensor.dtype)
        if noise.size == 1:
            noise = mx.full(tensor.shape, 0.3, dtype=tensor.dtype)
        model.update(tree_unflatten([(name, tensor * noise)]))
        if not any(_far_off(model, family, case) for case in cases):
            unseen.append(name)
        model.update(tree_unflatten([(name, tensor)]))
    assert unseen == [f"language_model.layers.{len(model.plan) - 1}.layer_scalar"]


def _far_off(model: Gemma4Model, family: str, case: str) -> bool:
    found = ours.logits(model, goldens.inputs(family, case))
    return ours.difference(found, goldens.logits(family, case)) > 2 * TOLERANCE


@pytest.mark.parametrize("family", families.BIG)
def test_goldens_notice_image_blocks(family, golden_model) -> None:
    """Without block attention the logits are far off: the comparison above means something."""
    at_images = goldens.inputs(family, "image")["mm_token_type_ids"][0] == 1
    causal = _causal_logits(golden_model(family), goldens.inputs(family, "image"))
    change = np.abs(causal - goldens.logits(family, "image"))[0]
    assert change[at_images].max() > 100 * TOLERANCE


def _causal_logits(model: Gemma4Model, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """The logits with every block's mask left out."""
    text = model.config.text
    assert text.bidirectional_vision
    object.__setattr__(text, "bidirectional_vision", False)  # a frozen dataclass
    try:
        return ours.logits(model, inputs)
    finally:
        object.__setattr__(text, "bidirectional_vision", True)


@pytest.fixture(scope="module", params=families.FAMILIES)
def live(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """A larger random checkpoint: the reference's model and ours, and the parsed config."""
    pytest.importorskip("torch", reason="the live comparison needs torch and transformers")
    pytest.importorskip("transformers", reason="the live comparison needs transformers")
    from tests.reference import transformers_side

    family = request.param
    config = families.raw_config(family, larger=True)
    path: Path = tmp_path_factory.mktemp(family)
    style = "5.23" if family in ("e4b", "31b") else "released"
    theirs = transformers_side.make_checkpoint(config, path, LIVE_SEED, style=style)
    return transformers_side, theirs, ours.load_float32(path), config, family


def test_live_logits(live) -> None:
    side, theirs, model, config, family = live
    for case in case_names(family):
        inputs = make_case(config, case, LIVE_SEED, scale=2)
        expected = side.reference_logits(theirs, inputs)
        assert ours.difference(ours.logits(model, inputs), expected) <= TOLERANCE, case


def test_live_greedy(live) -> None:
    side, theirs, model, config, _ = live
    inputs = make_case(config, "mixed", LIVE_SEED)
    tokens, closest = side.reference_greedy(theirs, inputs)
    assert closest > TOLERANCE / 2, "two tokens are as good as equal: choose another LIVE_SEED"
    assert ours.greedy(model, inputs) == tokens.tolist()


def test_live_batch(live) -> None:
    """A left-padded batch of rows with different media equals transformers' batch."""
    side, theirs, model, config, family = live
    rows = [make_case(config, case, BATCH_SEED) for case in case_names(family)]
    batch = left_pad(rows)
    expected = side.reference_logits(theirs, batch)
    found = ours.logits(model, batch)
    for index, row in enumerate(rows):
        length = row["input_ids"].shape[1]
        change = ours.difference(
            ours.real_tokens(found, index, length), ours.real_tokens(expected, index, length)
        )
        assert change <= TOLERANCE, case_names(family)[index]
