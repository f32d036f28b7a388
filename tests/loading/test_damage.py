"""Damaged, foreign and hostile checkpoints: one line that names the file or tensor each."""

import json
import struct

import mlx.core as mx
import pytest

from gemma4_mlx import CheckpointError, Gemma4Error, load_model
from gemma4_mlx.generation.loop import generate_tokens
from tests.reference.checkpoints import edit_json, shard_checkpoint

TEXT = "model.language_model."


def refused(path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_model(str(path))
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_every_problem_in_one_error(edited) -> None:
    """Missing, unexpected and misshapen tensors of decoder and towers, all told at once."""

    def spoil(weights) -> None:
        del weights[TEXT + "layers.1.mlp.up_proj.weight"]
        del weights[TEXT + "norm.weight"]
        del weights["model.audio_tower.layers.0.norm_out.weight"]
        weights[TEXT + "layers.0.bogus.weight"] = mx.ones((2,))
        weights["model.strange"] = mx.ones((2,))
        weights[TEXT + "layers.2.self_attn.q_norm.weight"] = mx.ones((7,))
        weights["model.vision_tower.patch_embedder.input_proj.weight"] = mx.ones((3, 11))
        weights[TEXT + "embed_tokens_per_layer.weight"] = mx.ones((128, 13))

    message = refused(edited("e2b", spoil))
    for part in (
        "layers.1.mlp.up_proj.weight",
        "norm.weight",
        "audio_tower.layers.0.norm_out.weight",
        "layers.0.bogus.weight",
        "strange",
        "layers.2.self_attn.q_norm.weight",
        "patch_embedder.input_proj.weight",
        "embed_tokens_per_layer",
        "missing",
        "unexpected",
        "(7,)",
        "(3, 11)",
    ):
        assert part in message, part


@pytest.mark.parametrize(
    "name,shape",
    [
        ("layers.0.experts.gate_up_proj", (8, 63, 64)),
        ("layers.0.experts.gate_up_proj", (8, 62, 64)),
        ("layers.0.experts.gate_up_proj", (64,)),
        ("layers.0.experts.down_proj", (8, 64, 31)),
        ("layers.0.router.per_expert_scale", (9,)),
        ("layers.1.layer_scalar", (2,)),
    ],
)
def test_misshapen_expert(name, shape, edited) -> None:
    def spoil(weights) -> None:
        weights[TEXT + name] = mx.ones(shape)

    message = refused(edited("26b", spoil))
    assert name.split(".", 2)[2].split("_proj")[0].split(".")[0] in message


def test_misshapen_convolutions(edited) -> None:
    def spoil(weights) -> None:
        conv = "model.audio_tower.subsample_conv_projection.layer1.conv.weight"
        weights[conv] = mx.ones((4, 128, 3))
        weights["model.audio_tower.layers.0.lconv1d.depthwise_conv1d.weight"] = mx.ones((32, 5))

    message = refused(edited("e2b", spoil))
    assert "layer1.conv.weight" in message and "depthwise_conv1d.weight" in message


@pytest.mark.parametrize("part", ["vision_tower.", "embed_vision."])
def test_half_of_the_vision_side_missing(part, edited) -> None:
    """A text-only file lacks all of it; one that lacks only a part is damaged."""

    def spoil(weights) -> None:
        for name in [name for name in weights if name.startswith(f"model.{part}")]:
            del weights[name]

    assert part in refused(edited("26b", spoil))


def test_ple_table_missing(edited) -> None:
    def spoil(weights) -> None:
        del weights[TEXT + "embed_tokens_per_layer.weight"]

    assert "embed_tokens_per_layer" in refused(edited("e4b", spoil))


@pytest.mark.parametrize("size", [0, 1, 7, 8, 100, 5000, 400_000])
def test_cut_short(size, checkpoint) -> None:
    path = checkpoint("e2b")
    whole = (path / "model.safetensors").read_bytes()
    assert len(whole) > size
    (path / "model.safetensors").write_bytes(whole[:size])
    assert "model.safetensors" in refused(path)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"this is a text file and no weights at all\n" * 50, id="text"),
        pytest.param(b"\xff" * 4096, id="endless header"),
        pytest.param(struct.pack("<Q", 2) + b"{}", id="nothing inside"),
        pytest.param(struct.pack("<Q", 16) + b"{not json at all", id="no json"),
        pytest.param(struct.pack("<Q", 8) + b"[1,2,34]", id="a list"),
        pytest.param(
            struct.pack("<Q", 60)
            + b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,8]}}'.ljust(60)
            + b"00000000",
            id="bytes do not fit the shape",
        ),
        pytest.param(
            struct.pack("<Q", 66)
            + b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[4,0]}}'.ljust(66),
            id="negative shape",
        ),
        pytest.param(
            struct.pack("<Q", 66)
            + b'{"a":{"dtype":"Q9","shape":[1],"data_offsets":[0,4]}}'.ljust(66)
            + b"0000",
            id="unknown dtype",
        ),
    ],
)  # fmt: skip
def test_foreign_bytes(content, checkpoint) -> None:
    path = checkpoint("e2b")
    (path / "model.safetensors").write_bytes(content)
    assert str(path) in refused(path)


def test_shard_missing(checkpoint) -> None:
    path = checkpoint("31b")
    shard_checkpoint(path, shards=3)
    (path / "model-00002-of-00003.safetensors").unlink()
    assert "model-00002-of-00003.safetensors" in refused(path)


def test_shard_empty(checkpoint) -> None:
    path = checkpoint("31b")
    shard_checkpoint(path, shards=3)
    (path / "model-00002-of-00003.safetensors").write_bytes(b"")
    assert "model-00002-of-00003.safetensors" in refused(path)


def test_index_promises_what_no_shard_holds(checkpoint) -> None:
    path = checkpoint("31b")
    shard_checkpoint(path, shards=2)
    index = path / "model.safetensors.index.json"
    raw = json.loads(index.read_text())
    raw["weight_map"]["model.language_model.lost.weight"] = "model-00001-of-00002.safetensors"
    index.write_text(json.dumps(raw))
    assert "lost.weight" in refused(path)


@pytest.mark.parametrize(
    "target", ["../outside.safetensors", "../../x", "/etc/passwd", "a/../../x", "..", "sub\\..\\x"]
)
def test_index_pointing_outside(target, checkpoint) -> None:
    path = checkpoint("31b")
    (path / "model.safetensors").rename(path.parent / "outside.safetensors")
    index = {"weight_map": {"model.language_model.norm.weight": target}}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))
    message = refused(path)
    assert "outside" in message or "index" in message


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"weight_map": 3}', '{"weight_map": {"a": null}}']
)
def test_damaged_index(content, checkpoint) -> None:
    path = checkpoint("31b")
    (path / "model.safetensors.index.json").write_text(content)
    assert "index" in refused(path)


@pytest.mark.parametrize(
    "raw,part",
    [
        ({"model_type": "llama", "hidden_size": 64}, "llama"),
        ({"model_type": "gemma3", "text_config": {}}, "gemma3"),
        ({"model_type": "gemma4_unified"}, "12B"),
        ({}, "model_type"),
        ({"model_type": "gemma4"}, "text_config"),
        ({"model_type": "gemma4", "text_config": {"layer_types": []}}, "text_config"),
    ],
)
def test_config_of_another_model(raw, part, checkpoint) -> None:
    path = checkpoint("e2b")
    (path / "config.json").write_text(json.dumps(raw))
    assert part in refused(path)


def test_config_of_another_gemma_4(checkpoint) -> None:
    """The 31B's config beside the 26B's weights: the tensors say so, not a stack trace."""
    path = checkpoint("26b")
    other = checkpoint("31b", "other")
    (path / "config.json").write_text((other / "config.json").read_text())
    assert "experts" in refused(path)


@pytest.mark.parametrize("content", [None, "", "{", "[1]", "\x00\x01"])
def test_config_missing_or_no_json(content, checkpoint) -> None:
    path = checkpoint("e2b")
    if content is None:
        (path / "config.json").unlink()
    else:
        (path / "config.json").write_text(content)
    assert "config.json" in refused(path)


@pytest.mark.parametrize("key", ["hidden_size", "sliding_window", "layer_types", "rope_parameters"])
def test_config_with_a_size_missing(key, checkpoint) -> None:
    """Never filled in from transformers' defaults, which fit no released model."""
    path = checkpoint("e2b")
    text = json.loads((path / "config.json").read_text())["text_config"]
    del text[key]
    edit_json(path / "config.json", text_config=text)
    assert key in refused(path)


def test_weights_quantized_by_another_tool(checkpoint) -> None:
    path = checkpoint("e2b")
    edit_json(path / "config.json", quantization_config={"quant_method": "gptq", "bits": 4})
    assert "gptq" in refused(path)


def test_no_weights(checkpoint) -> None:
    path = checkpoint("e2b")
    (path / "model.safetensors").unlink()
    (path / "pytorch_model.bin").write_bytes(b"\x80\x04pickle")
    assert "safetensors" in refused(path)


def test_no_such_directory(tmp_path) -> None:
    with pytest.raises(Gemma4Error, match="absent") as caught:
        load_model(str(tmp_path / "absent"))
    assert "\n" not in str(caught.value)


def test_a_file_instead_of_a_directory(checkpoint) -> None:
    file = checkpoint("e2b") / "model.safetensors"
    with pytest.raises(CheckpointError, match="file"):
        load_model(str(file))


def test_empty_directory(tmp_path) -> None:
    assert "config.json" in refused(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "layers.2.mlp.gate_proj.weight",
        "layers.0.layer_scalar",
        "embed_tokens_per_layer.weight",
        "norm.weight",
    ],
)
def test_nan_in_a_weight_is_named(name, edited) -> None:
    """Found by what comes out, then by a scan: loading reads no weight to look for it."""

    def spoil(weights) -> None:
        flat = weights[TEXT + name].flatten()
        if name.startswith("embed"):  # in the row of a token that the prompt has
            flat[20 * 160 + 3] = float("nan")
        else:
            flat[0] = float("nan")
        weights[TEXT + name] = flat.reshape(weights[TEXT + name].shape)

    model = load_model(str(edited("e2b", spoil)))
    with pytest.raises(CheckpointError, match="NaN") as caught:
        ids = mx.array([[2, 20, 30, 20]])
        for _ in generate_tokens(
            model, {"input_ids": ids}, model.make_cache(), lambda x: x.argmax(-1), max_tokens=2
        ):
            continue
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
