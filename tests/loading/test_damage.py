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


def is_of(tower: str, name: str) -> bool:
    return name.startswith((f"model.{tower}_tower.", f"model.embed_{tower}."))


@pytest.mark.parametrize("tower", ["vision", "audio"])
def test_one_tower_missing(tower, edited) -> None:
    """The config has both: a file that lacks all of one is no text-only file."""

    def spoil(weights) -> None:
        for name in [name for name in weights if is_of(tower, name)]:
            del weights[name]

    path = edited("e2b", spoil)
    message = refused(path)
    assert f"embed_{tower}.embedding_projection.weight" in message and "missing" in message
    assert ("audio" if tower == "vision" else "vision") not in message

    edit_json(path / "config.json", **{f"{tower}_config": None})
    model = load_model(str(path))
    assert (model.has_vision, model.has_audio) == (tower != "vision", tower != "audio")
    model(mx.array([[2, 20, 30]]))


def test_tower_that_the_config_does_not_have(checkpoint) -> None:
    path = checkpoint("e2b")
    edit_json(path / "config.json", audio_config=None)
    message = refused(path)
    assert "audio_tower.output_proj.weight" in message and "unexpected" in message
    assert "vision" not in message


@pytest.mark.parametrize(
    "name",
    [
        "model.audio_tower.layers.1.lconv1d.linear_end.input_min",
        "model.audio_tower.subsample_conv_projection.layer0.norm.weight",
        "model.embed_audio.embedding_projection.weight",
        "model.vision_tower.encoder.layers.1.mlp.up_proj.output_max",
        "model.vision_tower.patch_embedder.position_embedding_table",
        "model.embed_vision.embedding_projection.weight",
    ],
)
def test_one_tensor_of_a_tower_missing(name, edited) -> None:
    ours = name.removeprefix("model.")
    message = refused(edited("e2b", lambda weights: weights.pop(name)))
    assert f"(1 missing: {ours})" in message


def test_one_tensor_of_the_towers_left(edited) -> None:
    """All but one are missing: that is no text-only file either."""
    left = "model.audio_tower.output_proj.weight"

    def spoil(weights) -> None:
        for name in [n for n in weights if is_of("audio", n) or is_of("vision", n)]:
            if name != left:
                del weights[name]

    message = refused(edited("e2b", spoil))
    assert "audio_tower.output_proj.bias" in message and "embed_vision" in message


@pytest.mark.parametrize(
    "name,dtype",
    [
        (TEXT + "norm.weight", mx.int32),
        (TEXT + "embed_tokens.weight", mx.uint8),
        (TEXT + "embed_tokens_per_layer.weight", mx.uint32),
        (TEXT + "layers.0.layer_scalar", mx.int64),
        ("model.vision_tower.encoder.layers.0.mlp.up_proj.input_min", mx.bool_),
        ("model.audio_tower.layers.0.norm_out.weight", mx.int8),
    ],
)
def test_tensor_of_another_type(name, dtype, edited) -> None:
    """Whole numbers where weights are due: of another tool's quantization, or damaged."""

    def spoil(weights) -> None:
        weights[name] = mx.ones(weights[name].shape, dtype)

    message = refused(edited("e2b", spoil))
    assert f"1 of another type: {name.removeprefix('model.')} is {dtype}, expected " in message


def test_packed_tensor_of_another_type(edited) -> None:
    """Packed weights are 32-bit words: numbers of another type would be read as something else."""
    name = TEXT + "layers.0.mlp.up_proj"

    def spoil(weights) -> None:
        packed, scales, biases = mx.quantize(weights[f"{name}.weight"], group_size=32, bits=4)
        weights[f"{name}.weight"] = packed.astype(mx.int32)
        weights |= {f"{name}.scales": scales, f"{name}.biases": biases}

    path = edited("e2b", spoil)
    edit_json(path / "config.json", quantization={"group_size": 32, "bits": 4})
    assert "up_proj.weight is mlx.core.int32, expected mlx.core.uint32" in refused(path)


@pytest.mark.parametrize(
    "settings,part",
    [
        ({"group_size": 0, "bits": 4}, "group_size of the quantization of language_model"),
        ({"group_size": -32, "bits": 4}, "group_size"),
        ({"group_size": 32, "bits": "4"}, "bits of the quantization of language_model"),
        ({"group_size": 32, "bits": 4.5}, "bits"),
        ({"group_size": 32, "bits": 7}, "bits"),
        ({"group_size": 48, "bits": 4}, "group size 48"),
        ({"group_size": 32, "bits": 4, "mode": 3}, "mode of the quantization of language_model"),
        ({"group_size": 32, "bits": 4, "mode": "mxfp5"}, "mxfp5"),
        ({"group_size": 32, "bits": 8}, "misshapen"),
        ("4bit", "quantization of the model is '4bit'"),
    ],
)
@pytest.mark.parametrize("module", ["layers.0.mlp.up_proj", "embed_tokens_per_layer"])
def test_odd_quantization_settings(module, settings, part, edited) -> None:
    """Of a module and of the table on flash; MLX itself would divide by a group size of 0."""
    name = TEXT + module

    def pack(weights) -> None:
        packed = mx.quantize(weights[f"{name}.weight"], group_size=32, bits=4)
        for end, tensor in zip(("weight", "scales", "biases"), packed, strict=True):
            weights[f"{name}.{end}"] = tensor

    path = edited("e2b", pack)
    edit_json(path / "config.json", quantization={"group_size": 32, "bits": 4})
    load_model(str(path))
    edit_json(path / "config.json", quantization=settings)
    assert part in refused(path)


def test_tensor_in_two_shards(checkpoint) -> None:
    """Which of the two is right, nobody could tell."""
    path = checkpoint("31b")
    shard_checkpoint(path, shards=2)
    first, second = sorted(path.glob("model-*.safetensors"))
    name = sorted(mx.load(str(first)))[3]
    weights = mx.load(str(second)) | {name: mx.load(str(first))[name] * 2}
    mx.eval(weights)  # before its file is written over
    mx.save_safetensors(str(second), weights)
    message = refused(path)
    assert name in message and first.name in message and second.name in message


@pytest.mark.parametrize("with_index", [True, False])
def test_shard_that_repeats_all_the_others(with_index, checkpoint) -> None:
    """As when a second conversion was written beside the first."""
    path = checkpoint("31b")
    whole = (path / "model.safetensors").read_bytes()
    shard_checkpoint(path, shards=2)
    (path / "model-00002-of-00002.safetensors").write_bytes(whole)
    if not with_index:
        (path / "model.safetensors.index.json").unlink()
    message = refused(path)
    assert "both hold" in message and " more" in message
    assert "model-00001-of-00002" in message and "model-00002-of-00002" in message


def test_tensor_under_two_names(edited) -> None:
    """Once as in transformers, once as in MLX conversions."""

    def add(weights) -> None:
        weights["language_model.model.norm.weight"] = weights[TEXT + "norm.weight"] * 2

    assert "1 given twice: language_model.norm.weight" in refused(edited("31b", add))


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


@pytest.mark.parametrize("ple", ["memory", "flash"])
def test_nan_met_while_decoding_is_named(ple, edited) -> None:
    """In the row of a token that is generated: the prompt and its logits are sound."""

    def spoil(weights) -> None:
        table = weights[TEXT + "embed_tokens_per_layer.weight"]
        table[40, 3] = float("nan")
        weights[TEXT + "embed_tokens_per_layer.weight"] = table

    model = load_model(str(edited("e2b", spoil)), ple=ple)
    planned = iter([30, 40, 50, 60])
    tokens: list[int] = []
    with pytest.raises(CheckpointError, match="NaN") as caught:
        for (token,) in generate_tokens(
            model,
            {"input_ids": mx.array([[2, 20, 30, 20]])},
            model.make_cache(),
            lambda logits: mx.array([next(planned)]),
            max_tokens=4,
        ):
            tokens.append(token)
    assert tokens == [30, 40]
    assert "the weights hold NaN in language_model.embed_tokens_per_layer.weight" in str(
        caught.value
    )
    assert "\n" not in str(caught.value)
