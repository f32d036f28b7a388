"""Every tensor belongs to one group, and the right one."""

import pytest

from gemma4_convert.groups import GROUPS, NAMES, UNPACKED, group_of
from gemma4_mlx.config import Gemma4Config
from gemma4_mlx.released import RELEASED, released_config
from gemma4_mlx.tensor_shapes import tensor_shapes

LAYER = "language_model.layers.3"
CONFORMER = "audio_tower.layers.0"
VIT = "vision_tower.encoder.layers.0"


@pytest.mark.parametrize(
    ("path", "group"),
    [
        (f"{LAYER}.self_attn.q_proj.weight", "attention"),
        (f"{LAYER}.self_attn.o_proj.weight", "attention"),
        (f"{LAYER}.self_attn.q_norm.weight", "rest"),
        (f"{LAYER}.mlp.down_proj.weight", "mlp"),
        (f"{LAYER}.experts.switch_glu.down_proj.weight", "experts"),
        (f"{LAYER}.router.proj.weight", "router"),
        (f"{LAYER}.router.scale", "rest"),
        (f"{LAYER}.router.per_expert_scale", "rest"),
        (f"{LAYER}.layer_scalar", "rest"),
        (f"{LAYER}.input_layernorm.weight", "rest"),
        ("language_model.norm.weight", "rest"),
        ("language_model.embed_tokens.weight", "embedding"),
        ("language_model.embed_tokens_per_layer.weight", "ple_table"),
        ("language_model.per_layer_model_projection.weight", "ple_projections"),
        (f"{LAYER}.per_layer_input_gate.weight", "ple_projections"),
        (f"{LAYER}.per_layer_projection.weight", "ple_projections"),
        ("language_model.per_layer_projection_norm.weight", "rest"),
        (f"{VIT}.self_attn.q_proj.linear.weight", "vision"),
        (f"{VIT}.mlp.down_proj.linear.weight", "vision"),
        (f"{VIT}.self_attn.q_proj.input_min", "rest"),
        (f"{VIT}.self_attn.q_norm.weight", "rest"),
        ("vision_tower.patch_embedder.position_embedding_table", "rest"),
        ("vision_tower.std_bias", "rest"),
        (f"{CONFORMER}.self_attn.post.linear.weight", "audio"),
        (f"{CONFORMER}.lconv1d.linear_start.linear.weight", "audio"),
        (f"{CONFORMER}.feed_forward1.ffw_layer_1.linear.weight", "audio"),
        (f"{CONFORMER}.lconv1d.depthwise_conv1d.weight", "rest"),
        (f"{CONFORMER}.lconv1d.conv_norm.weight", "rest"),
        ("audio_tower.subsample_conv_projection.input_proj_linear.weight", "audio"),
        ("audio_tower.subsample_conv_projection.layer0.conv.weight", "rest"),
        ("audio_tower.output_proj.weight", "audio"),
        ("audio_tower.output_proj.bias", "rest"),
        ("embed_vision.embedding_projection.weight", "vision_projector"),
        ("embed_audio.embedding_projection.weight", "audio_projector"),
    ],
)
def test_group_of(path: str, group: str) -> None:
    assert group_of(path).name == group


@pytest.mark.parametrize(
    "path",
    [
        "vision_tower.patch_embedder.input_proj.weight",
        f"{CONFORMER}.self_attn.relative_k_proj.weight",
    ],
)
def test_what_mlx_vlm_reads_the_dtype_of_is_never_packed(path: str) -> None:
    """It casts pixels and positions to that dtype: packed, to unsigned integers."""
    assert group_of(path) is UNPACKED


@pytest.mark.parametrize("family", RELEASED)
def test_what_is_never_packed_is_small(family: str) -> None:
    shapes = tensor_shapes(Gemma4Config.from_dict(released_config(family)))
    counts = dict.fromkeys((group.name for group in GROUPS), 0)
    for path, shape in shapes.items():
        size = 1
        for side in shape:
            size *= side
        counts[group_of(path).name] += size
    assert counts["rest"] < 0.007 * sum(counts.values())
    # Each group has tensors in some model; what a model lacks, it lacks.
    lacking = {name for name in NAMES if not counts[name]}
    per_layer, moe = {"ple_table", "ple_projections"}, {"experts", "router"}
    audio = {"audio", "audio_projector"}
    expected = {"e2b": moe, "e4b": moe, "26b": per_layer | audio, "31b": per_layer | audio | moe}
    assert lacking == expected[family]


def test_only_matrices_are_in_a_group_that_may_be_packed() -> None:
    for family in RELEASED:
        for path, shape in tensor_shapes(Gemma4Config.from_dict(released_config(family))).items():
            if group_of(path) is not UNPACKED:
                assert len(shape) >= 2 and path.endswith(".weight")
