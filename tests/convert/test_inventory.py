"""What is said to be in a checkpoint, against the bytes of its files."""

import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest

from gemma4_convert.estimate import inventory_of_config
from gemma4_convert.groups import GROUPS, group_of
from gemma4_convert.inventory import Inventory, inventory_of_files
from gemma4_mlx.anatomy import anatomy
from gemma4_mlx.config import Gemma4Config
from gemma4_mlx.demo import demo_path
from gemma4_mlx.errors import CheckpointError
from gemma4_mlx.loading.safetensors_file import read_header
from gemma4_mlx.released import RELEASED, released_config
from gemma4_mlx.tensor_shapes import borrowed_shapes
from tests import goldens
from tests.reference.checkpoints import copy_checkpoint, read_weights, write_weights

FAMILIES = ("e2b", "e4b", "26b", "31b")
Edit = Callable[[dict[str, mx.array]], None]


def of_files(path: Path) -> Inventory:
    return inventory_of_files(path, Gemma4Config.from_dir(path))


def of_config(path: Path) -> Inventory:
    raw = json.loads((path / "config.json").read_text())
    return inventory_of_config(raw, Gemma4Config.from_dict(raw), has_borrowed=False)


def header_bytes(files: Iterable[Path]) -> int:
    return sum(info.nbytes for file in files for info in read_header(file).values())


@pytest.fixture
def edited(tmp_path: Path) -> Callable[[str, Edit], Path]:
    """A copy of a family's checkpoint whose tensors an edit has changed."""

    def change(family: str, edit: Edit) -> Path:
        path = copy_checkpoint(goldens.checkpoint(family), tmp_path / family)
        (path / "expected.safetensors").unlink()
        weights = read_weights(path)
        edit(weights)
        write_weights(path, weights)
        return path

    return change


def pack(weights: dict[str, mx.array], module: str, **settings: Any) -> None:
    parts = mx.quantize(weights[f"{module}.weight"], **settings)
    named = zip(("weight", "scales", "biases"), parts, strict=False)
    weights |= {f"{module}.{part}": array for part, array in named}


def packings(inventory: Inventory) -> dict[str, str]:
    return {tensor.path: tensor.packing for tensor in inventory.tensors}


@pytest.mark.parametrize("family", FAMILIES)
def test_files_and_config_tell_the_same(family: str) -> None:
    path = goldens.checkpoint(family)
    files, config = of_files(path), of_config(path)
    assert (files.missing, files.unexpected, files.itemsize) == ((), (), 2)
    # The tiny checkpoints are bfloat16, their config.json says float32.
    assert [(t.path, t.parameters, 2 * t.nbytes) for t in files.tensors] == [
        (t.path, t.parameters, t.nbytes) for t in config.tensors
    ]
    assert files.file_bytes == header_bytes([path / "model.safetensors"])
    assert config.itemsize == 4


@pytest.mark.parametrize("family", FAMILIES)
def test_groups_add_up(family: str) -> None:
    inventory = of_files(goldens.checkpoint(family))
    groups, everything = inventory.groups(), inventory.all_groups()
    assert everything.tensors == sum(group.tensors for group in groups) == len(inventory.tensors)
    assert everything.nbytes == sum(group.nbytes for group in groups)
    assert everything.parameters == sum(anatomy(inventory.config).components.values())
    assert all(group.bits == 16 and group.packings == ("bf16",) for group in groups)
    order = [group.name for group in GROUPS]
    assert [group.name for group in groups] == [
        name for name in order if any(group_of(t.path).name == name for t in inventory.tensors)
    ]


def test_the_demo_model() -> None:
    """Packed by our own converter; there the config alone tells it all too."""
    files, config = of_files(demo_path()), of_config(demo_path())
    assert files.tensors == config.tensors
    assert files.file_bytes == header_bytes(demo_path().glob("*.safetensors"))
    assert {(group.name, group.bits) for group in files.groups()} >= {
        ("attention", 9.0),
        ("ple_table", 9.0),
        ("vision", 16.0),
    }
    assert files.itemsize == 2  # read from the scales


def test_packing_is_read_from_the_shapes(edited: Callable[[str, Edit], Path]) -> None:
    layer = "model.language_model.layers.0"

    def edit(weights: dict[str, mx.array]) -> None:
        pack(weights, f"{layer}.mlp.gate_proj", bits=3, group_size=64)
        pack(weights, f"{layer}.mlp.up_proj", bits=6, group_size=32)
        pack(weights, f"{layer}.mlp.down_proj", mode="mxfp8")
        pack(weights, f"{layer}.self_attn.q_proj", mode="mxfp4")
        pack(weights, f"{layer}.self_attn.k_proj", mode="nvfp4")
        pack(weights, "model.language_model.embed_tokens", mode="mxfp4")

    path = edited("31b", edit)
    inventory = of_files(path)
    assert (inventory.missing, inventory.unexpected) == ((), ())
    found = packings(inventory)
    ours = "language_model.layers.0"
    assert found[f"{ours}.mlp.gate_proj.weight"] == "3 bits/64"
    assert found[f"{ours}.mlp.up_proj.weight"] == "6 bits/32"
    assert found[f"{ours}.mlp.down_proj.weight"] == "mxfp8"
    assert found[f"{ours}.self_attn.q_proj.weight"] == "mxfp4"
    assert found[f"{ours}.self_attn.k_proj.weight"] == "nvfp4"
    assert found[f"{ours}.self_attn.o_proj.weight"] == "bf16"
    assert inventory.file_bytes == header_bytes([path / "model.safetensors"])
    by_path = {tensor.path: tensor for tensor in inventory.tensors}
    gate = by_path[f"{ours}.mlp.gate_proj.weight"]
    assert gate.nbytes * 8 == gate.parameters * 3.5
    mlp = next(group for group in inventory.groups() if group.name == "mlp")
    assert mlp.packings[0] == "bf16" and set(mlp.packings[1:]) == {
        "3 bits/64",
        "6 bits/32",
        "mxfp8",
    }
    assert inventory.itemsize == 2  # its embedding holds no float at all


@pytest.mark.parametrize(
    ("settings", "bits"),
    [
        ({"bits": 4, "group_size": 64}, 4.5),
        ({"bits": 8, "group_size": 32, "mode": "affine"}, 9.0),
        ({"bits": 4, "group_size": 32, "mode": "mxfp4"}, 4.25),
        ({"mode": "nvfp4"}, 4.5),
        ({"mode": "mxfp8"}, 8.25),
    ],
)
def test_a_config_that_tells_of_packing(settings: dict[str, Any], bits: float) -> None:
    router = {"language_model.model.layers.3.router.proj": {"bits": 8, "group_size": 64}}
    kept = {"language_model.model.layers.0.mlp.up_proj": False}
    raw = released_config("26b") | {"quantization": settings | router | kept}
    inventory = inventory_of_config(raw, Gemma4Config.from_dict(raw), has_borrowed=False)
    by_path = {tensor.path: tensor for tensor in inventory.tensors}
    expert = by_path["language_model.layers.5.experts.switch_glu.down_proj.weight"]
    assert expert.nbytes * 8 / expert.parameters == bits
    assert by_path["language_model.layers.3.router.proj.weight"].packing == "8 bits/64"
    assert by_path["language_model.layers.0.mlp.up_proj.weight"].packing == "bf16"
    towers = {t.packing for t in inventory.tensors if t.path.startswith("vision_tower.")}
    assert towers == {"bf16"}


@pytest.mark.parametrize("name", RELEASED)
def test_released_files(name: str) -> None:
    """Two bytes a number, clip bounds included; the 26B's is the total its index tells."""
    raw = released_config(name)
    inventory = inventory_of_config(raw, Gemma4Config.from_dict(raw), has_borrowed=True)
    assert (
        inventory.file_bytes
        == {
            "e2b": 2 * (5_123_178_051 + 928),
            "e4b": 2 * (7_996_156_490 + 928),
            "26b": 51_611_872_412,
            "31b": 2 * 31_273_088_876,
        }[name]
    )


def test_unused_tensors_are_told_apart(edited: Callable[[str, Edit], Path]) -> None:
    config = Gemma4Config.from_dir(goldens.checkpoint("e2b"))
    borrowed = {
        f"model.{path}": mx.zeros(shape, mx.bfloat16)
        for path, shape in borrowed_shapes(config).items()
    }
    extra = sum(2 * math.prod(shape) for shape in borrowed_shapes(config).values())

    def without(weights: dict[str, mx.array]) -> None:
        for name in borrowed:
            weights.pop(name, None)

    def with_borrowed(weights: dict[str, mx.array]) -> None:
        weights.update(borrowed)

    def with_head(weights: dict[str, mx.array]) -> None:
        without(weights)
        weights["lm_head.weight"] = mx.zeros((4, 4), mx.bfloat16)

    found = [of_files(edited("e2b", edit)) for edit in (without, with_borrowed, with_head)]
    assert [(f.unused_bytes, f.has_borrowed) for f in found] == [
        (0, False),
        (extra, True),
        (32, False),
    ]
    assert found[0].tensors == found[1].tensors == found[2].tensors


def test_text_alone(edited: Callable[[str, Edit], Path]) -> None:
    def edit(weights: dict[str, mx.array]) -> None:
        for name in list(weights):
            if "_tower." in name or "embed_vision" in name or "embed_audio" in name:
                del weights[name]

    inventory = of_files(edited("e2b", edit))
    assert inventory.config.vision is None and inventory.config.audio is None
    assert (inventory.missing, inventory.unexpected) == ((), ())


def test_what_does_not_fit_is_named(edited: Callable[[str, Edit], Path]) -> None:
    def edit(weights: dict[str, mx.array]) -> None:
        weights["model.language_model.more.weight"] = weights.pop(
            "model.language_model.norm.weight"
        )

    inventory = of_files(edited("31b", edit))
    assert inventory.missing == ("language_model.norm.weight",)
    assert inventory.unexpected == ("language_model.more.weight",)


def test_a_file_cut_short(edited: Callable[[str, Edit], Path]) -> None:
    path = edited("31b", lambda _weights: None)
    file = path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match="cut short"):
        of_files(path)
