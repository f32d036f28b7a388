"""One checkpoint, three readers: ours, mlx-vlm and mlx-lm give the same logits, whoever wrote it.

Everything computes in float32. ``tests/loading/test_conversions.py`` holds how our loader reads
what the peers' code writes; here their commands run, and their readers open our conversions.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from gemma4_convert.convert import convert
from gemma4_convert.recipe import shipped_recipes
from gemma4_mlx import load, load_model
from gemma4_mlx.model import Gemma4Model
from tests import goldens
from tests.reference import families, ours
from tests.reference.checkpoints import edit_json, read_weights
from tests.reference.inputs import Inputs, PromptBuilder, case_names, make_case

peers = pytest.importorskip(
    "tests.reference.conversions", reason="the comparison needs mlx-lm and mlx-vlm"
)
pytest.importorskip("mlx_vlm", reason="the comparison needs mlx-vlm")

pytestmark = pytest.mark.slow

TOLERANCE = 1e-3
SMALL = tuple(family for family in families.FAMILIES if family not in families.BIG)
RECIPES = list(shipped_recipes())

Sources = Callable[[str], Path]


def in_words(options: dict[str, Any]) -> str:
    """The id of a test with these options of a peer's conversion."""
    return " ".join(str(v) for k, v in options.items() if k != "quantize") or "plain"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sources]:
    """A family's random checkpoint in Hugging Face layout, its widths divisible, with tokenizer."""
    reference = pytest.importorskip(
        "tests.reference.transformers_side", reason="torch and transformers make the checkpoints"
    )
    folder = tmp_path_factory.mktemp("sources")

    @cache
    def make(family: str) -> Path:
        path = folder / family
        reference.make_checkpoint(
            peers.divisible_config(family), path, seed=21, with_unused_kv=family == "e2b"
        )
        peers.add_text_files(path)
        return path

    yield make
    shutil.rmtree(folder)


def cases(family: str) -> dict[str, Inputs]:
    """What every reader can be asked: all media of the small models, text of the big ones."""
    config = peers.divisible_config(family)
    if family in families.BIG:
        return {"text": make_case(config, "text", seed=3)}
    found = {
        name: make_case(config, name, seed=3) for name in case_names(family) if name != "audio"
    }
    found["recording"] = PromptBuilder(config, 3).text(4).audio(97).text(9).build()
    return found


def expect_equal_readers(path: Path, family: str, *, mlx_lm: bool = True) -> Gemma4Model:
    """mlx-vlm gives our logits in every case, mlx-lm those of the text. Returns our model."""
    model, theirs = load_model(path), peers.MlxVlm(path)
    for name, inputs in cases(family).items():
        found, soft_tokens = ours.logits(model, inputs), None
        if name != "text" and embedding_is_rounded(path):
            if set(inputs) & {"pixel_values_videos", "input_features"}:
                continue
            # Beside such an embedding soft tokens are rounded to bfloat16 as well, by all readers,
            # and the last digit of a tower decides which way: towers and decoder are compared
            # each by itself.
            soft_tokens = our_soft_tokens(model, inputs)
            made = theirs.soft_tokens(inputs)
            assert ours.difference(np.array(soft_tokens), made) <= TOLERANCE, name
        assert ours.difference(found, theirs.logits(inputs, soft_tokens)) <= TOLERANCE, name
        if mlx_lm and name == "text":
            assert ours.difference(found, peers.MlxLm(path).logits(inputs)) <= TOLERANCE
    return model


def embedding_is_rounded(path: Path) -> bool:
    """MLX unpacks the rows of an embedding in the microscaling modes as bfloat16."""
    settings = json.loads((path / "config.json").read_text()).get("quantization") or {}
    own = settings.get("language_model.model.embed_tokens", settings)
    return own.get("mode", "affine") != "affine"


def our_soft_tokens(model: Gemma4Model, inputs: Inputs) -> mx.array:
    arrays = ours.to_mlx(inputs)
    pictures = model.vision_tower(arrays["pixel_values"], arrays["image_position_ids"])
    return model.embed_vision(mx.concatenate(pictures))[None]


# --- ours in mlx-vlm and mlx-lm ----------------------------------------------------------------


@pytest.mark.parametrize("recipe", [None, *RECIPES])
@pytest.mark.parametrize("family", families.FAMILIES)
def test_our_recipes_in_all_readers(
    family: str, recipe: str | None, source: Sources, tmp_path: Path
) -> None:
    convert(source(family), tmp_path / "mlx", recipe=recipe, dtype="float32")
    expect_equal_readers(tmp_path / "mlx", family)


@pytest.mark.parametrize(
    "plain",
    [
        {"bits": 2, "group_size": 128},
        {"bits": 3, "group_size": 32},
        {"bits": 5},
        {"bits": 6, "group_size": 128},
        {"bits": 4, "mode": "mxfp4"},
        {"bits": 8, "mode": "mxfp8"},
        {"bits": 4, "mode": "nvfp4"},
    ],
    ids=str,
)
@pytest.mark.parametrize("family", ["e2b", "26b"])
def test_our_plain_bits_in_all_readers(
    family: str, plain: dict[str, Any], source: Sources, tmp_path: Path
) -> None:
    convert(source(family), tmp_path / "mlx", **plain, dtype="float32")
    expect_equal_readers(tmp_path / "mlx", family)


@pytest.mark.parametrize("family", families.FAMILIES)
def test_every_group_packed_its_own_way(family: str, source: Sources, tmp_path: Path) -> None:
    """Towers, projectors and per-layer embeddings too, in modes that mix."""
    recipe = tmp_path / "mixed.toml"
    recipe.write_text(
        """
        description = "as various as it gets"
        [groups]
        attention = { mode = "nvfp4" }
        mlp = { mode = "mxfp4" }
        experts = { bits = 3, group_size = 32 }
        router = { bits = 6, group_size = 128 }
        embedding = { bits = 6, group_size = 32 }
        ple_table = { bits = 2, group_size = 128 }
        ple_projections = { bits = 5, group_size = 64 }
        vision = { mode = "mxfp8" }
        audio = { bits = 4, group_size = 32 }
        """
        + projectors_toml("{ bits = 8, group_size = 64 }")
    )
    convert(source(family), tmp_path / "mlx", recipe=recipe, dtype="float32")
    packed = [name for name in read_weights(tmp_path / "mlx") if name.endswith(".scales")]
    towers = {"vision_tower", "embed_vision"}
    towers |= {"audio_tower", "embed_audio"} if family in SMALL else set()
    assert {name.split(".")[0] for name in packed} == {"language_model"} | towers
    expect_equal_readers(tmp_path / "mlx", family)


def projectors_toml(value: str) -> str:
    from gemma4_convert.groups import NAMES

    return "\n".join(f"{name} = {value}" for name in NAMES if "projector" in name)


# --- the files beside the weights --------------------------------------------------------------


def test_the_demo_model_in_mlx_lm(tmp_path: Path) -> None:
    """Its audio tower has 64 mel bins; mlx-vlm's can have 128 alone, so it is not opened there."""
    convert(peers.TEXT_FILES, tmp_path / "mlx", recipe="8bit", dtype="float32")
    ids = np.arange(30, 90, dtype=np.int32)[None]
    inputs = {"input_ids": ids, "mm_token_type_ids": np.zeros_like(ids)}
    found = ours.logits(load_model(tmp_path / "mlx"), inputs)
    assert ours.difference(found, peers.MlxLm(tmp_path / "mlx").logits(inputs)) <= TOLERANCE


@pytest.fixture
def chat_checkpoint(tmp_path: Path) -> Path:
    """Random weights that go with the demo's tokenizer; early conversions had faults like these."""
    reference = pytest.importorskip(
        "tests.reference.transformers_side", reason="torch and transformers make the checkpoint"
    )
    path, demo = tmp_path / "source", peers.TEXT_FILES
    ids = json.loads((demo / "config.json").read_text())
    config = peers.divisible_config("e2b")
    vocab_size = ids["text_config"]["vocab_size"]
    config["text_config"] |= {
        "vocab_size": vocab_size,
        "vocab_size_per_layer_input": vocab_size,
        "max_position_embeddings": 4096,
    }
    reference.make_checkpoint(config, path, seed=22)
    special = {key: value for key, value in ids.items() if key.endswith(("_id", "_index"))}
    edit_json(path / "config.json", **special)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(demo / name, path / name)
    (path / "generation_config.json").unlink()
    return path


@pytest.mark.filterwarnings("ignore:At least one mel filter")
def test_the_files_beside_the_weights_serve_all_readers(
    chat_checkpoint: Path, tmp_path: Path
) -> None:
    """A source without template, processor and generation files, which are put in."""
    import mlx_lm
    import mlx_vlm

    path = tmp_path / "mlx"
    assert len(convert(chat_checkpoint, path, recipe="balanced", dtype="float32").mended) == 4
    messages = [{"role": "user", "content": "name three shapes"}]
    model, processor = load(path)
    ids = np.array(processor(messages)["input_ids"])[0].tolist()
    ends = {1, 16, 9}  # <eos>, <turn|>, <|tool_response>
    assert set(model.generation_config.eos_token_ids) == ends

    lm, tokenizer = mlx_lm.load(str(path))
    assert tokenizer.eos_token_ids == ends
    # mlx-lm asks for thoughts unless told otherwise.
    prompt = tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, enable_thinking=False, return_dict=False
    )
    assert prompt == ids
    assert (
        ours.difference(np.array(lm(mx.array([ids]))), np.array(model(mx.array([ids]))))
        <= TOLERANCE
    )

    vlm, their_processor = mlx_vlm.load(str(path))
    assert set(their_processor.tokenizer.stopping_criteria.eos_token_ids) == ends
    assert their_processor.feature_extractor.feature_size == 128
    template = their_processor.tokenizer.apply_chat_template
    assert template(messages, add_generation_prompt=True, return_dict=False) == ids
    folder = peers.TEXT_FILES.parent
    spoken = mlx_vlm.generate(
        vlm,
        their_processor,
        template(
            [{"role": "user", "content": [{"type": "image"}, {"type": "audio"}]}],
            add_generation_prompt=True,
            tokenize=False,
        ),
        image=[str(folder / "scene.png")],
        audio=[str(folder / "digits.wav")],
        max_tokens=3,
    )
    assert 1 <= spoken.generation_tokens <= 3


# --- theirs in ours ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"quantize": True},
        {"quantize": True, "q_bits": 8, "q_group_size": 32},
        {"quantize": True, "q_mode": "mxfp4", "q_group_size": None, "q_bits": None},
        {"quantize": True, "q_mode": "nvfp4", "q_group_size": None, "q_bits": None},
        {"quantize": True, "quant_predicate": "mixed_3_6"},
        {"quantize": True, "quant_predicate": "mixed_4_8"},
    ],
    ids=in_words,
)
@pytest.mark.parametrize("family", families.FAMILIES)
def test_mlx_vlm_convert(
    family: str, options: dict[str, Any], source: Sources, tmp_path: Path
) -> None:
    peers.mlx_vlm_convert(source(family), tmp_path / "mlx", **options)
    model = expect_equal_readers(tmp_path / "mlx", family, mlx_lm=False)
    assert model.has_vision and model.has_audio == (family in SMALL)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"quantize": True},
        {"quantize": True, "q_bits": 8, "q_group_size": 128},
        {"quantize": True, "q_mode": "mxfp4"},
        {"quantize": True, "q_mode": "nvfp4"},
        {"quantize": True, "q_group_size": 64, "quant_predicate": "mixed_3_6"},
        {"quantize": True, "q_group_size": 32, "quant_predicate": "mixed_4_6"},
    ],
    ids=in_words,
)
@pytest.mark.parametrize("family", families.FAMILIES)
def test_mlx_lm_convert(
    family: str, options: dict[str, Any], source: Sources, tmp_path: Path
) -> None:
    peers.mlx_lm_convert(source(family), tmp_path / "mlx", **options)
    inputs = cases(family)["text"]
    model = load_model(tmp_path / "mlx")
    theirs = peers.MlxLm(tmp_path / "mlx").logits(inputs)
    assert ours.difference(ours.logits(model, inputs), theirs) <= TOLERANCE
    assert not model.has_vision and not model.has_audio


@pytest.mark.parametrize("family", families.FAMILIES)
def test_the_recipe_mlx_4bit_is_what_mlx_vlm_writes(
    family: str, source: Sources, tmp_path: Path
) -> None:
    """Tensor by tensor, bit by bit, so that a comparison with it is one with mlx-vlm."""
    peers.mlx_vlm_convert(source(family), tmp_path / "theirs", quantize=True)
    convert(source(family), tmp_path / "ours", recipe="mlx-4bit")
    found, expected = read_weights(tmp_path / "ours"), read_weights(tmp_path / "theirs")
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype, name
        assert np.array_equal(np.array(found[name]), np.array(tensor)), name

    written, given = (
        json.loads((tmp_path / side / "config.json").read_text()) for side in ("ours", "theirs")
    )
    assert written["quantization_config"] == written["quantization"]
    assert given["quantization_config"] == given["quantization"]
    written, given = written["quantization"], given["quantization"]
    # An override of theirs has no mode when it is affine.
    given = {
        name: {"mode": "affine", **value} if isinstance(value, dict) else value
        for name, value in given.items()
    }
    assert written == given


# --- where mlx-vlm differs from the reference --------------------------------------------------


@pytest.mark.parametrize("family", families.BIG)
def test_pictures_in_big_models(family: str, tmp_path: Path) -> None:
    """mlx-vlm lets a block of image tokens see itself in the global layers, transformers does not.

    Text alone is equal. Should a newer mlx-vlm agree with transformers, this exception can go.
    """
    convert(goldens.checkpoint(family), tmp_path / "mlx", dtype="float32")
    model, theirs = load_model(tmp_path / "mlx"), peers.MlxVlm(tmp_path / "mlx")
    for case in case_names(family):
        inputs, expected = goldens.inputs(family, case), goldens.logits(family, case)
        assert ours.difference(ours.logits(model, inputs), expected) <= TOLERANCE, case
        off = ours.difference(theirs.logits(inputs), expected)
        assert off <= TOLERANCE if case == "text" else off > 1.0, (case, off)


@pytest.mark.parametrize("family", SMALL)
def test_recordings_of_several_lengths(family: str, tmp_path: Path) -> None:
    """mlx-vlm leaves in the padding of all but the longest, so the next lands in wrong places.

    One recording, or the longest first as in "mixed", is equal. Should a newer one cut it, this
    exception can go.
    """
    convert(goldens.checkpoint(family), tmp_path / "mlx", dtype="float32")
    model, theirs = load_model(tmp_path / "mlx"), peers.MlxVlm(tmp_path / "mlx")
    for case in case_names(family):
        inputs, expected = goldens.inputs(family, case), goldens.logits(family, case)
        assert ours.difference(ours.logits(model, inputs), expected) <= TOLERANCE, case
        off = ours.difference(theirs.logits(inputs), expected)
        assert off > 1.0 if case == "audio" else off <= TOLERANCE, (case, off)
