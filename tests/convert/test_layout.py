"""Names and config.json of a conversion."""

import json

import pytest

from gemma4_convert.layout import mlx_config, mlx_name
from gemma4_mlx.config import Gemma4Config
from gemma4_mlx.loading.rename import module_path
from tests import goldens
from tests.reference import families


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("language_model.layers.3.mlp.up_proj.weight",
         "language_model.model.layers.3.mlp.up_proj.weight"),
        ("language_model.norm.weight", "language_model.model.norm.weight"),
        ("vision_tower.std_scale", "vision_tower.std_scale"),
        ("embed_audio.embedding_projection.weight", "embed_audio.embedding_projection.weight"),
    ],
)  # fmt: skip
def test_names(ours: str, theirs: str) -> None:
    assert mlx_name(ours) == theirs
    assert module_path(theirs) == ours


@pytest.mark.parametrize("family", families.FAMILIES)
def test_both_styles_give_the_released_style(family: str) -> None:
    """mlx-vlm and mlx-lm read the released keys only: the sizes must stand there."""
    released = goldens.config(family)
    newer = json.loads((goldens.checkpoint(family) / "config_5_23.json").read_text())
    assert "per_layer_config" in newer["text_config"]
    written = mlx_config(newer, None, None)
    assert Gemma4Config.from_dict(written) == Gemma4Config.from_dict(released)
    for key in ("global_head_dim", "num_global_key_value_heads"):
        assert written["text_config"][key] == released["text_config"][key]
    assert written["vision_config"]["rope_parameters"]["rope_type"] == "default"
    assert "per_layer_config" not in written["text_config"]
    assert "per_layer_config" in newer["text_config"], "the caller's dict was changed"


def test_a_text_model_gets_the_place_of_a_whole_one() -> None:
    text = goldens.config("e2b")["text_config"]
    written = mlx_config(text, None, "float16")
    assert written["model_type"] == "gemma4"
    assert Gemma4Config.from_dict(written).text == Gemma4Config.from_dict(text).text


def test_dtype_and_quantization_are_recorded() -> None:
    written = mlx_config(goldens.config("e2b"), {"bits": 4, "group_size": 64}, "bfloat16")
    assert written["quantization"] == {"bits": 4, "group_size": 64}
    sections = (written, written["text_config"], written["vision_config"], written["audio_config"])
    assert {section["dtype"] for section in sections} == {"bfloat16"}
