"""Recipes: ours do what they promise on the released shapes, a user's own is read strictly."""

from pathlib import Path

import pytest

from gemma4_convert.groups import NAMES
from gemma4_convert.plan import plan_of_config
from gemma4_convert.policy import Quantization
from gemma4_convert.recipe import (
    DEFAULT,
    Recipe,
    load_recipe,
    plain_recipe,
    shipped_recipes,
    unquantized,
)
from gemma4_mlx.config import Gemma4Config
from gemma4_mlx.errors import InputError
from gemma4_mlx.released import RELEASED, released_config

FOUR, EIGHT = Quantization(4, 64), Quantization(8, 64)
LAYER = "language_model.layers.3"
TABLE = "language_model.embed_tokens_per_layer.weight"


def released(family: str) -> Gemma4Config:
    return Gemma4Config.from_dict(released_config(family))


def test_the_shipped_ones() -> None:
    shipped = shipped_recipes()
    assert set(shipped) >= {"8bit", "balanced", "small", "mlx-4bit"}
    assert DEFAULT == "balanced"
    for name, recipe in shipped.items():
        assert recipe.name == name and recipe.description
        assert set(recipe.groups) == set(NAMES), "a shipped recipe leaves no group to a default"


@pytest.mark.parametrize("family", RELEASED)
def test_balanced_has_at_most_5_bits_a_weight(family: str) -> None:
    plan = plan_of_config(family, released(family), load_recipe("balanced"))
    assert 4.5 < plan.bits_per_weight <= 5.0


def test_small_lets_e2b_hear_and_see_in_a_gigabyte_and_a_half() -> None:
    plan = plan_of_config("e2b", released("e2b"), load_recipe("small"))
    assert plan.bytes_in_use <= 1.5e9
    assert {"vision", "audio", "vision_projector", "audio_projector"} <= {
        row.name for row in plan.rows()
    }


@pytest.mark.parametrize("name", ["8bit", "balanced", "small"])
def test_ours_protect_what_users_complain_of(name: str) -> None:
    groups = load_recipe(name).groups
    body = groups["mlp"]
    assert body is not None
    for group in ("router", "embedding", "audio_projector", "vision_projector"):
        chosen = groups[group]
        assert chosen is not None
        assert chosen.bits >= (8 if group != "embedding" else min(8, body.bits + 1))


@pytest.mark.parametrize("family", RELEASED)
def test_mlx_4bit_follows_the_rules_of_mlx_vlm(family: str) -> None:
    plan = plan_of_config(family, released(family), load_recipe("mlx-4bit"))
    for tensor in plan.tensors:
        is_matrix = tensor.name.endswith(".weight") and len(tensor.shape) > 1
        skipped = "vision" in tensor.name or "audio_tower" in tensor.name
        expected = FOUR if is_matrix and not skipped else None
        if ".router.proj" in tensor.name:
            expected = EIGHT
        assert tensor.quantization == expected, tensor.name


def test_plain_bits_protect_router_and_towers() -> None:
    for recipe in (plain_recipe(4), plain_recipe(2, 128), plain_recipe(None, mode="mxfp4")):
        chosen, _ = recipe.quantization(f"{LAYER}.router.proj.weight", (128, 256))
        assert chosen is not None and (chosen.bits, chosen.mode) == (8, "affine")
        for path in (
            "vision_tower.encoder.layers.0.mlp.up_proj.linear.weight",
            "audio_tower.output_proj.weight",
            "embed_audio.embedding_projection.weight",
            "embed_vision.embedding_projection.weight",
            f"{LAYER}.input_layernorm.weight",
        ):
            assert recipe.quantization(path, (256, 256)) == (None, None)
        for path in (f"{LAYER}.mlp.up_proj.weight", TABLE):
            assert recipe.quantization(path, (256, 256))[0] == recipe.groups["mlp"]
    assert plain_recipe(None, mode="mxfp8").groups["attention"] == Quantization(8, 32, "mxfp8")


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        (plain_recipe(3, 32), Quantization(3, 32)),
        (plain_recipe(None, mode="mxfp4"), Quantization(6, 64)),
        (plain_recipe(None, mode="nvfp4"), Quantization(6, 64)),
        (plain_recipe(None, mode="mxfp8"), Quantization(8, 64)),
    ],
)
def test_the_embedding_of_plain_recipes_is_affine(recipe: Recipe, expected: Quantization) -> None:
    assert recipe.groups["embedding"] == expected
    told = recipe.description
    assert told.endswith("embeddings too" if recipe.groups["mlp"] == expected else str(expected))


def test_names_tell_recipes_apart() -> None:
    names = [
        *shipped_recipes(),
        *(r.name for r in (plain_recipe(4), plain_recipe(4, 32), plain_recipe(8))),
        *(
            r.name
            for r in (plain_recipe(None, mode="mxfp4"), unquantized(), unquantized("float16"))
        ),
    ]
    assert len(set(names)) == len(names)


def test_a_note_says_what_became_of_a_width() -> None:
    recipe = Recipe("x", "", {"mlp": Quantization(4, 128)})
    path = f"{LAYER}.mlp.up_proj.weight"
    assert recipe.quantization(path, (8, 256)) == (Quantization(4, 128), None)
    chosen, note = recipe.quantization(path, (8, 704))
    assert chosen == FOUR
    assert note == "width 704 is no multiple of 128: groups of 64"
    assert recipe.quantization(path, (8, 40)) == (None, "width 40 is no multiple of 128: kept")
    assert recipe.quantization(f"{LAYER}.self_attn.q_proj.weight", (8, 40)) == (None, None)


# --- TOML files --------------------------------------------------------------------------------


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    return file


def test_a_file_of_the_user_s_own(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        """
        description = "mine"
        dtype = "float16"
        smaller_groups = false
        [groups]
        attention = { bits = 5, group_size = 32 }
        mlp = { mode = "mxfp4" }
        experts = { mode = "nvfp4", bits = 4 }
        router = { bits = 8 }
        audio = "keep"
        """,
    )
    assert load_recipe(str(file)) == Recipe(
        "mine",
        "mine",
        {
            "attention": Quantization(5, 32),
            "mlp": Quantization(4, 32, "mxfp4"),
            "experts": Quantization(4, 16, "nvfp4"),
            "router": EIGHT,
            "audio": None,
        },
        "float16",
        smaller_groups=False,
    )
    # What it does not name is kept.
    assert load_recipe(file).quantization(TABLE, (256, 256)) == (None, None)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("bits = 4", "unknown key bits, expected one of description, dtype"),
        ("[groups]\nmpl = { bits = 4 }", "unknown group groups.mpl, expected one of attention"),
        ("[groups]\nmlp = { bit = 4 }", "unknown key groups.mlp.bit, expected one of bits"),
        ("[groups]\nmlp = { bits = 7 }", "groups.mlp: 7 bits in groups of 64"),
        ("[groups]\nmlp = { bits = 4, group_size = 48 }", "groups.mlp: 4 bits in groups of 48"),
        ('[groups]\nmlp = { bits = 8, mode = "mxfp4" }', "groups.mlp: mxfp4 with 8 bits"),
        ('[groups]\nmlp = { mode = "int4" }', "groups.mlp: quantization mode 'int4' is unknown"),
        ("[groups]\nmlp = { mode = 4 }", "groups.mlp.mode is 4, expected the name"),
        ('[groups]\nmlp = { bits = "4" }', "groups.mlp.bits is '4', expected a whole number"),
        ("[groups]\nmlp = { bits = true }", "groups.mlp.bits is True, expected a whole number"),
        ("[groups]\nmlp = { group_size = 64 }", "groups.mlp has no bits"),
        ("[groups]\nmlp = 4", "groups.mlp is 4, expected 'keep' or a table"),
        ('[groups]\nmlp = "drop"', "groups.mlp is 'drop', expected 'keep' or a table"),
        ("[groups]\nrest = { bits = 4 }", "unknown group groups.rest"),
        ("groups = 3", "groups is 3, expected a table"),
        ('dtype = "int8"', "dtype 'int8' is unknown"),
        ("dtype = 16", "dtype is 16, expected the name of a dtype"),
        ("smaller_groups = 1", "smaller_groups is 1, expected true or false"),
        ("description = 1", "description is 1, expected a text"),
        ("[groups\n", "no TOML file"),
    ],
)
def test_what_is_wrong_is_one_line_with_file_and_key(text: str, told: str, tmp_path: Path) -> None:
    file = write(tmp_path, text)
    with pytest.raises(InputError) as caught:
        load_recipe(file)
    assert str(caught.value).startswith(str(file)) and told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_recipes_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no recipe 'tiny': use one of 8bit, balanced"):
        load_recipe("tiny")
    with pytest.raises(InputError, match=r"none\.toml cannot be read"):
        load_recipe(tmp_path / "none.toml")
    with pytest.raises(InputError, match="cannot be read"):
        load_recipe(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b'description = "\xe9"')
    with pytest.raises(InputError, match="no TOML file"):
        load_recipe(tmp_path / "latin.toml")
    with pytest.raises(InputError, match="dtype 'int8' is unknown"):
        unquantized("int8")
