"""Which tensors are packed, in which bits and groups."""

import pytest

from gemma4_convert.policy import Quantization, quantization_of
from gemma4_mlx.errors import InputError

FOUR = Quantization(4, 64)
LAYER = "language_model.layers.3"


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("language_model.embed_tokens.weight", (512, 128)),
        ("language_model.embed_tokens_per_layer.weight", (512, 640)),
        ("language_model.per_layer_model_projection.weight", (640, 128)),
        (f"{LAYER}.self_attn.q_proj.weight", (256, 128)),
        (f"{LAYER}.mlp.down_proj.weight", (128, 512)),
        (f"{LAYER}.per_layer_input_gate.weight", (32, 128)),
        (f"{LAYER}.experts.switch_glu.gate_proj.weight", (8, 64, 128)),
    ],
)
def test_decoder_matrices_are_packed(name: str, shape: tuple[int, ...]) -> None:
    assert quantization_of(name, shape, FOUR) == FOUR
    assert quantization_of(name, shape, None) is None


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        (f"{LAYER}.input_layernorm.weight", (128,)),
        (f"{LAYER}.layer_scalar", (1,)),
        (f"{LAYER}.router.scale", (128,)),
        (f"{LAYER}.router.per_expert_scale", (64,)),
        ("embed_vision.embedding_projection.weight", (128, 64)),
        ("embed_audio.embedding_projection.weight", (128, 64)),
        ("vision_tower.encoder.layers.0.mlp.up_proj.linear.weight", (128, 64)),
        ("vision_tower.patch_embedder.position_embedding_table", (2, 64, 64)),
        ("audio_tower.layers.0.lconv1d.depthwise_conv1d.weight", (64, 5, 64)),
        ("audio_tower.output_proj.weight", (128, 64)),
    ],
)
def test_the_rest_is_kept(name: str, shape: tuple[int, ...]) -> None:
    assert quantization_of(name, shape, FOUR) is None


@pytest.mark.parametrize("asked", [FOUR, Quantization(2, 128), Quantization(4, 32, "mxfp4")])
def test_the_router_has_8_bits(asked: Quantization) -> None:
    chosen = quantization_of(f"{LAYER}.router.proj.weight", (64, 128), asked)
    assert chosen is not None
    assert (chosen.bits, chosen.mode) == (8, "affine")


@pytest.mark.parametrize(
    ("width", "asked", "chosen"),
    [
        (704, Quantization(4, 128), Quantization(4, 32)),  # the experts of the 26B
        (32, FOUR, Quantization(4, 32)),
        (48, FOUR, None),
        (48, Quantization(4, 16, "nvfp4"), Quantization(4, 16, "nvfp4")),
        (48, Quantization(8, 32, "mxfp8"), None),
    ],
)
def test_widths_that_do_not_divide(
    width: int, asked: Quantization, chosen: Quantization | None
) -> None:
    assert quantization_of(f"{LAYER}.mlp.gate_proj.weight", (64, width), asked) == chosen


@pytest.mark.parametrize(
    ("bits", "group_size", "mode", "told"),
    [
        (7, 64, "affine", r"7 bits in groups of 64"),
        (4, 48, "affine", r"groups of 48"),
        (8, 32, "mxfp4", r"always has 4 bits in groups of 32"),
        (4, 64, "nvfp4", r"in groups of 16"),
        (4, 64, "int4", r"'int4' is unknown"),
    ],
)
def test_what_mlx_cannot_pack_is_refused(bits: int, group_size: int, mode: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        Quantization(bits, group_size, mode)
