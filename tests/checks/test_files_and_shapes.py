"""Damaged files and tensors that do not fit: all of it told, and nothing for the same reason."""

import json
from pathlib import Path

import mlx.core as mx
import pytest

from gemma4_mlx.checks.files import Found, check_files
from gemma4_mlx.checks.outcome import Check, Status
from gemma4_mlx.checks.shapes import check_shapes
from gemma4_mlx.config import Gemma4Config
from gemma4_mlx.loading.safetensors_file import checkpoint_tensors
from tests.checks.whole import whole_checkpoint
from tests.reference.checkpoints import read_weights, shard_checkpoint, write_weights

TEXT = "model.language_model."


@pytest.fixture(params=["e2b", "26b"])
def sharded(request, tmp_path: Path) -> Path:
    path = whole_checkpoint(request.param, tmp_path / "model")
    shard_checkpoint(path, shards=3)
    return path


def shard(path: Path, number: int) -> Path:
    return path / f"model-0000{number}-of-00003.safetensors"


def both(path: Path) -> tuple[Check, Check, Found]:
    files, found = check_files(path)
    return files, check_shapes(Gemma4Config.from_dir(path), found), found


def test_whole(sharded: Path) -> None:
    files, shapes, found = both(sharded)
    assert files.status is shapes.status is Status.OK
    assert files.detail.startswith(f"3 files, {len(found.tensors)} tensors, 0.9 MB")
    assert shapes.detail.startswith(f"{len(found.tensors)} tensors fit config.json")


def test_a_shard_cut_short(sharded: Path) -> None:
    """Its tensors are not called missing: there is one fault, and it is told once."""
    whole = checkpoint_tensors(sharded)
    file = shard(sharded, 2)
    file.write_bytes(file.read_bytes()[:-100])
    files, shapes, found = both(sharded)
    assert files.status is Status.FAILED
    assert len(files.problems) == 1 and f"{file} is cut short" in files.problems[0]
    cut = {name for name, info in whole.items() if info.file == file}
    assert set(found.tensors) == set(whole) - cut and found.lost == cut
    assert shapes.status is Status.OK, shapes
    assert f"{len(cut)} in files that cannot be read were not compared" in shapes.detail


def test_every_fault_at_once(sharded: Path) -> None:
    """A shard missing, one cut, a misshapen and an unexpected tensor in the third."""
    whole = checkpoint_tensors(sharded)
    first = {name for name, info in whole.items() if info.file == shard(sharded, 1)}
    weights = mx.load(str(shard(sharded, 1)))
    name = next(name for name in sorted(first) if name.endswith("input_layernorm.weight"))
    weights[name] = mx.ones((3,))
    weights["model.strange"] = mx.ones((2,))
    mx.eval(weights)
    mx.save_safetensors(str(shard(sharded, 1)), weights)
    shard(sharded, 2).unlink()
    shard(sharded, 3).write_bytes(b"\0" * 50)
    files, shapes, found = both(sharded)
    assert files.status is Status.FAILED and len(files.problems) == 2
    assert "lacks model-00002" in files.problems[0] and "model-00003" in files.problems[1]
    assert set(found.tensors) == first | {"model.strange"}
    assert shapes.status is Status.FAILED
    assert sorted(problem.split(":")[0] for problem in shapes.problems) == [
        "misshapen",
        "unexpected",
    ]
    assert "(3,)" in "".join(shapes.problems) and "strange" in "".join(shapes.problems)


@pytest.mark.parametrize("family", ["e2b", "26b"])
def test_missing_and_misshapen_tensors(family: str, tmp_path: Path) -> None:
    path = whole_checkpoint(family, tmp_path / "model")
    weights = read_weights(path)
    del weights[TEXT + "layers.1.mlp.up_proj.weight"]
    weights[TEXT + "norm.weight"] = mx.ones((7,))
    weights[TEXT + "layers.0.input_layernorm.weight"] = mx.ones((64,), mx.int32)
    write_weights(path, weights)
    files, shapes, _ = both(path)
    assert files.status is Status.OK
    assert shapes.problems == (
        "missing: language_model.layers.1.mlp.up_proj.weight",
        "misshapen: language_model.norm.weight is (7,), expected (64,)",
        "of another type: language_model.layers.0.input_layernorm.weight is mlx.core.int32, "
        "expected a floating dtype",
    )
    assert shapes.detail == "3 of the tensors do not fit config.json"


@pytest.mark.parametrize("content", ["{", "[]", '{"weight_map": 3}', '{"weight_map": {"a": 3}}'])
def test_a_damaged_index(sharded: Path, content: str) -> None:
    """What lies in the folder is looked at all the same."""
    (sharded / "model.safetensors.index.json").write_text(content)
    files, shapes, found = both(sharded)
    assert files.status is Status.FAILED and len(files.problems) == 1
    assert len(found.tensors) > 100 and shapes.status is Status.OK


def test_an_index_that_leads_outside(sharded: Path) -> None:
    index = sharded / "model.safetensors.index.json"
    raw = json.loads(index.read_text())
    raw["weight_map"]["model.stolen"] = "../../secret.safetensors"
    index.write_text(json.dumps(raw))
    files, _, found = both(sharded)
    assert len(files.problems) == 1 and "outside" in files.problems[0]
    assert all(info.file.parent == sharded for info in found.tensors.values())


@pytest.mark.parametrize("content", [None, b"", b"pickle" * 50])
def test_no_weights(tmp_path: Path, content: bytes | None) -> None:
    path = whole_checkpoint("31b", tmp_path / "model")
    (path / "model.safetensors").unlink()
    if content is not None:
        (path / "model.safetensors").write_bytes(content)
    files, shapes, found = both(path)
    assert files.status is Status.FAILED and len(files.problems) == 1 and not found.tensors
    assert shapes.status is Status.SKIPPED


def test_quantization_settings_that_are_none(tmp_path: Path) -> None:
    path = whole_checkpoint("31b", tmp_path / "model")
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | {"quantization": {"bits": 99}}))
    weights = read_weights(path)
    name = TEXT + "layers.0.mlp.up_proj"
    weights[f"{name}.scales"] = mx.ones((128, 1))
    write_weights(path, weights)
    _, shapes, _ = both(path)
    assert shapes.status is Status.FAILED and "quantization settings" in shapes.detail
