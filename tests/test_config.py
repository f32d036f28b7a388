"""``config.json``: every value is read by type and range, and what is refused is named."""

import copy
import json
from typing import Any

import pytest

from gemma4_mlx.config import FULL, SLIDING, Gemma4Config, Modality
from gemma4_mlx.errors import CheckpointError
from gemma4_mlx.layer_plan import plan_layers
from tests import goldens
from tests.reference import families
from tests.reference.families import raw_config

NOT_A_SIZE = ["64", 6.5, True, -1, [64], {}, 2**31, 10**400]
NOT_A_NUMBER = ["1", True, -1.0, [1.0], float("nan"), float("inf"), 10**400]
NOT_A_SWITCH = ["false", 0, 1.0, [True]]
NOT_AN_OBJECT = ["x", 7, [1]]
NOT_AN_ID = [1.5, "x", True, -2, 2**31]
NOT_THE_ENDS = [*NOT_AN_ID, [], {}, [1, "x"], [1, -1], families.VOCAB, [1, families.VOCAB]]

TEXT, VISION, AUDIO = "text_config", "vision_config", "audio_config"
LOCAL_ROPE, GLOBAL_ROPE = f"{TEXT}.rope_parameters.{SLIDING}", f"{TEXT}.rope_parameters.{FULL}"


def changed(family: str, section: str, key: str, value: Any) -> dict[str, Any]:
    """The family's config with one value of a section ("" for the top, "a.b" for b in a)."""
    raw = raw_config(family)
    place = raw
    for name in filter(None, section.split(".")):
        place = place[name]
    place[key] = value
    return raw


def refused(raw: dict[str, Any]) -> str:
    with pytest.raises(CheckpointError) as error:
        Gemma4Config.from_dict(raw)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("section", "keys", "values"),
    [
        (
            TEXT,
            (
                *("hidden_size", "intermediate_size", "num_hidden_layers", "head_dim"),
                *("num_attention_heads", "num_key_value_heads", "vocab_size", "sliding_window"),
                *("global_head_dim", "max_position_embeddings", "vocab_size_per_layer_input"),
            ),
            [*NOT_A_SIZE, 0],
        ),
        (
            TEXT,
            ("hidden_size_per_layer_input", "num_kv_shared_layers", "pad_token_id"),
            NOT_A_SIZE,
        ),
        (TEXT, ("num_kv_shared_layers",), [10, 11]),
        (TEXT, ("pad_token_id",), [families.VOCAB]),
        (TEXT, ("rms_norm_eps", "final_logit_softcapping"), NOT_A_NUMBER),
        (TEXT, ("attention_k_eq_v", "enable_moe_block", "use_double_wide_mlp"), NOT_A_SWITCH),
        (TEXT, ("use_bidirectional_attention",), ["all", "x", True, 1]),
        (TEXT, ("hidden_activation",), ["gelu", "silu", 3]),
        (TEXT, ("attention_bias",), [True, "x"]),
        (TEXT, ("head_dim",), [15]),
        (LOCAL_ROPE, ("rope_theta",), [*NOT_A_NUMBER, 0]),
        (LOCAL_ROPE, ("rope_type",), ["yarn", "proportional", 1]),
        (GLOBAL_ROPE, ("rope_type",), ["default", "linear"]),
        (GLOBAL_ROPE, ("partial_rotary_factor",), [*NOT_A_NUMBER, 0, 1.01]),
        (
            VISION,
            (
                *("hidden_size", "intermediate_size", "num_hidden_layers", "head_dim"),
                *("num_attention_heads", "num_key_value_heads", "patch_size"),
                *("pooling_kernel_size", "position_embedding_size"),
            ),
            [*NOT_A_SIZE, 0],
        ),
        (VISION, ("use_clipped_linears", "standardize"), NOT_A_SWITCH),
        (VISION, ("rms_norm_eps",), NOT_A_NUMBER),
        (f"{VISION}.rope_parameters", ("rope_theta",), NOT_A_NUMBER),
        (f"{VISION}.rope_parameters", ("rope_type",), ["proportional", 2]),
        (
            AUDIO,
            (
                *("hidden_size", "num_hidden_layers", "num_attention_heads", "output_proj_dims"),
                *("conv_kernel_size", "attention_chunk_size", "attention_context_left"),
            ),
            [*NOT_A_SIZE, 0],
        ),
        (AUDIO, ("attention_context_right",), NOT_A_SIZE),
        (AUDIO, ("num_attention_heads",), [3, 64]),  # of a hidden_size of 32
        (
            AUDIO,
            ("residual_weight", "attention_logit_cap", "rms_norm_eps", "gradient_clipping"),
            NOT_A_NUMBER,
        ),
        (
            AUDIO,
            ("attention_invalid_logits_value",),
            ["x", float("-inf"), float("nan"), -(10**400)],
        ),
        (AUDIO, ("subsampling_conv_channels",), [128, [128], [128, 0], [128, "4"], [1, 2, 3]]),
        (AUDIO, ("hidden_act",), ["gelu"]),
    ],
)
def test_odd_values_are_refused(section: str, keys: tuple[str, ...], values: list[Any]) -> None:
    for key in keys:
        for value in values:
            message = refused(changed("e2b", section, key, value))
            shown = f"{value!r:.60}"
            assert message.startswith(f"config.json: {key} of {section} is {shown}, expected ")


@pytest.mark.parametrize("key", ["num_experts", "top_k_experts", "moe_intermediate_size"])
def test_odd_experts_are_refused(key: str) -> None:
    """Read on models that have experts; the others say null there."""
    for value in [*NOT_A_SIZE, 0]:
        assert f"{key} of text_config is {value!r:.60}, " in refused(
            changed("26b", TEXT, key, value)
        )
    assert "top_k_experts of text_config is 9, " in refused(
        changed("26b", TEXT, "top_k_experts", 9)
    )


@pytest.mark.parametrize("key", [name for name in families.SPECIAL_IDS if name.endswith("_id")])
def test_odd_media_ids_are_refused(key: str) -> None:
    for value in NOT_AN_ID:
        assert f"{key} of the model is {value!r}, " in refused(changed("e2b", "", key, value))


@pytest.mark.parametrize("value", NOT_THE_ENDS)
def test_odd_ends_of_turn_are_refused(value: Any) -> None:
    """An id outside of the vocabulary would never end a reply."""
    message = refused(changed("e2b", "", "eos_token_id", value))
    assert f"eos_token_id of the model is {value!r}, expected a token id below 128" in message


def test_ends_of_turn() -> None:
    """Those of the whole model, or else the text model's."""
    raw = raw_config("e2b")
    assert Gemma4Config.from_dict(raw).eos_token_ids == (1, 6)
    assert Gemma4Config.from_dict(raw | {"eos_token_id": 0}).eos_token_ids == (0,)
    assert Gemma4Config.from_dict(raw | {"eos_token_id": None}).eos_token_ids == (1,)
    del raw["text_config"]["eos_token_id"]
    assert "text_config has no 'eos_token_id'" in refused(raw | {"eos_token_id": None})


@pytest.mark.parametrize(
    "kinds",
    [
        pytest.param([SLIDING] * 9, id="too few"),
        pytest.param([SLIDING, FULL] * 6, id="too many"),
        pytest.param([], id="none"),
        pytest.param([SLIDING] * 9 + ["chunked_attention"], id="unknown"),
        pytest.param([SLIDING] * 9 + [1], id="a number"),
        pytest.param([[SLIDING]] * 10, id="lists"),
        pytest.param(SLIDING, id="one for all"),
    ],
)
def test_odd_layer_types_are_refused(kinds: Any) -> None:
    message = refused(changed("e2b", TEXT, "layer_types", kinds))
    assert message.startswith("config.json: layer_types of text_config is ")
    assert f"a list of 10 times {SLIDING!r} or {FULL!r}" in message


@pytest.mark.parametrize(
    ("key", "value"), [("num_attention_heads", 3), ("num_global_key_value_heads", 3)]
)
def test_heads_that_cannot_be_grouped(key: str, value: int) -> None:
    message = refused(changed("26b", TEXT, key, value))
    assert "num_attention_heads of text_config" in message and "3" in message


def test_a_shared_layer_without_a_donor() -> None:
    """All the global layers of this one would borrow from one another."""
    kinds = [SLIDING] * 5 + [FULL] * 5
    text = Gemma4Config.from_dict(raw_config("e2b", layer_types=kinds)).text
    with pytest.raises(CheckpointError, match=f"layer 5 .* no '{FULL}' layer"):
        plan_layers(text)


@pytest.mark.parametrize("section", ["text_config", "vision_config", "audio_config"])
def test_a_section_is_an_object(section: str) -> None:
    for value in NOT_AN_OBJECT:
        assert f"{section} is {value!r}, " in refused(changed("e2b", "", section, value))


@pytest.mark.parametrize("section", [TEXT, VISION])
def test_rope_parameters_are_objects(section: str) -> None:
    for value in NOT_AN_OBJECT:
        message = refused(changed("e2b", section, "rope_parameters", value))
        assert f"{section}.rope_parameters is {value!r}, expected an object" in message


@pytest.mark.parametrize("section", ["", TEXT])
@pytest.mark.parametrize("value", [False, "yes"])
def test_an_output_layer_of_its_own_is_refused(section: str, value: Any) -> None:
    """Wherever it is said: no Gemma 4 has one, and here the embedding is used."""
    message = refused(changed("e2b", section, "tie_word_embeddings", value))
    where = section or "the model"
    assert f"tie_word_embeddings of {where} is {value!r}, expected True" in message


def test_an_output_layer_of_its_own_in_a_text_model() -> None:
    text = raw_config("31b", tie_word_embeddings=False)["text_config"]
    assert "tie_word_embeddings of text_config is False" in refused(text)


@pytest.mark.parametrize("section", ["", TEXT])
@pytest.mark.parametrize("value", [True, None])
def test_tied_embeddings_need_not_be_said(section: str, value: bool | None) -> None:
    found = Gemma4Config.from_dict(changed("e2b", section, "tie_word_embeddings", value))
    assert found == Gemma4Config.from_dict(raw_config("e2b"))


@pytest.mark.parametrize("family", families.FAMILIES)
def test_both_styles_say_the_same(family: str) -> None:
    newer = json.loads((goldens.checkpoint(family) / "config_5_23.json").read_text())
    released, converted = map(Gemma4Config.from_dict, (goldens.config(family), newer))
    assert released.text == converted.text
    assert (released.vision, released.audio) == (converted.vision, converted.audio)
    assert released.placeholders == converted.placeholders


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("x", id="no object"),
        pytest.param({FULL: 3}, id="no object within"),
        pytest.param({FULL: {"head_dim": "32"}}, id="a text"),
        pytest.param({FULL: {"num_key_value_heads": 0}}, id="zero"),
        pytest.param({"0": {"head_dim": 32}}, id="one local layer"),
        pytest.param({"4": {"head_dim": 32}}, id="one of two global layers"),
        pytest.param({FULL: {"head_dim": 31}}, id="odd"),
    ],
)
def test_odd_sizes_per_layer_are_refused(value: Any) -> None:
    message = refused(changed("e2b", TEXT, "per_layer_config", value))
    assert "per_layer_config" in message or "head_dim of text_config" in message


def test_sizes_per_layer_by_index_or_kind() -> None:
    sizes = {"head_dim": 48}
    for value in ({"4": sizes, "09": sizes}, {FULL: sizes}, {FULL: sizes, "²": {"head_dim": 3}}):
        text = Gemma4Config.from_dict(changed("e2b", TEXT, "per_layer_config", value)).text
        assert (text.head_dim, text.global_head_dim) == (16, 48)


def test_placeholders() -> None:
    found = Gemma4Config.from_dict(raw_config("e2b")).placeholders
    assert found == {125: Modality.IMAGE, 127: Modality.VIDEO, 126: Modality.AUDIO}


def test_a_text_model_has_no_placeholders() -> None:
    text = copy.deepcopy(raw_config("e2b")["text_config"])
    config = Gemma4Config.from_dict(text)
    assert config.vision is None and config.audio is None
    assert all(token_id < 0 for token_id in config.placeholders)
