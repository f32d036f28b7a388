"""Files whose bytes all have their place before the first is written."""

import json
import os
from pathlib import Path

import mlx.core as mx
import pytest
from safetensors import safe_open

from gemma4_convert.blocks import Block, SourceFiles, blocks
from gemma4_convert.plan import ConversionPlan
from gemma4_convert.shards import Shard, ShardWriter, index, is_intact, lay_out
from gemma4_mlx.loading.safetensors_file import read_header
from tests.convert.planned import RECIPES, SHARD_BYTES, packed_whole, plan_of, same_bits

ITEM_BYTES = {"U32": 4, "F32": 4, "BF16": 2, "F16": 2, "U8": 1}


def written(plan: ConversionPlan, shard: Shard, folder: Path) -> list[int]:
    with SourceFiles() as files, (folder / shard.file).open("wb", buffering=0) as stream:
        writer = ShardWriter(shard, stream.fileno())
        for block in blocks(shard.tensors, files, plan.recipe.dtype, 1):
            writer.write(block)
        return writer.checksums()


@pytest.mark.parametrize("recipe", RECIPES)
def test_both_readers_read_what_was_packed(recipe: str, tmp_path: Path) -> None:
    plan = plan_of("26b", RECIPES[recipe])
    expected = packed_whole(plan)
    for shard in lay_out(plan.tensors, SHARD_BYTES):
        written(plan, shard, tmp_path)
        file = tmp_path / shard.file
        assert file.stat().st_size == shard.nbytes
        with safe_open(file, "mlx") as theirs:
            assert theirs.metadata() == {"format": "mlx"}
            names = set(theirs.keys())
        for name, tensor in mx.load(str(file)).items():
            names.remove(name)
            assert same_bits(tensor, expected.pop(name)), name
        assert not names
    assert not expected


@pytest.mark.parametrize("recipe", ["4 bits", "mxfp4", "unquantized"])
def test_every_tensor_is_aligned(recipe: str, tmp_path: Path) -> None:
    plan = plan_of("e2b", RECIPES[recipe])
    for shard in lay_out(plan.tensors, SHARD_BYTES):
        written(plan, shard, tmp_path)
        for info in read_header(tmp_path / shard.file).values():
            assert info.start % ITEM_BYTES[info.dtype] == 0
        assert len(shard.header) % 8 == 0


def test_shards_are_named_as_the_hub_names_them() -> None:
    plan = plan_of("e2b")
    (one,) = lay_out(plan.tensors, 10**9)
    assert one.file == "model.safetensors"
    several = lay_out(plan.tensors, SHARD_BYTES)
    count = len(several)
    assert count > 2
    assert [shard.file for shard in several] == [
        f"model-{number:05d}-of-{count:05d}.safetensors" for number in range(1, count + 1)
    ]


def test_shards_keep_the_limit_the_order_and_what_belongs_together() -> None:
    plan = plan_of("e2b")
    largest = max(tensor.nbytes for tensor in plan.tensors)
    for limit in (largest, largest // 3):
        shards = lay_out(plan.tensors, limit)
        assert [tensor for shard in shards for tensor in shard.tensors] == list(plan.tensors)
        for shard in shards:
            size = sum(tensor.nbytes for tensor in shard.tensors)
            assert size <= limit or len(shard.tensors) == 1
            assert set(shard.parts) == {name for it in shard.tensors for name in it.parts}


def test_the_index_names_the_file_of_every_tensor() -> None:
    plan = plan_of("e2b")
    shards = lay_out(plan.tensors, SHARD_BYTES)
    content = index(shards)
    assert content["metadata"]["total_size"] == plan.total_bytes
    assert content["weight_map"] == {name: shard.file for shard in shards for name in shard.parts}
    assert list(content["weight_map"]) == sorted(content["weight_map"])
    assert json.loads(json.dumps(content)) == content


def test_damage_is_noticed(tmp_path: Path) -> None:
    plan = plan_of("31b")
    shard = lay_out(plan.tensors, SHARD_BYTES)[0]
    checksums = written(plan, shard, tmp_path)
    file = tmp_path / shard.file
    assert is_intact(shard, file, checksums)
    assert not is_intact(shard, file, checksums[:-1])
    content = file.read_bytes()
    for place in (4, len(shard.header) - 1, len(shard.header), len(content) // 2, len(content) - 1):
        damaged = bytearray(content)
        damaged[place] ^= 1
        file.write_bytes(damaged)
        assert not is_intact(shard, file, checksums), place
    file.write_bytes(content[:-1])
    assert not is_intact(shard, file, checksums)
    file.unlink()
    assert not is_intact(shard, file, checksums)


def test_what_differs_from_the_plan_is_never_written_silently(tmp_path: Path) -> None:
    plan = plan_of("31b")
    shard = lay_out(plan.tensors, 10**9)[0]
    name, part = next(iter(shard.parts.items()))
    handle = os.open(tmp_path / "x", os.O_RDWR | os.O_CREAT)
    try:
        writer = ShardWriter(shard, handle)
        with pytest.raises(RuntimeError, match="larger than planned"):
            writer.write(Block({name: mx.zeros((part.nbytes + 1,), mx.uint8)}, 0))
        with pytest.raises(RuntimeError, match=f"has 0 bytes, planned {part.nbytes}"):
            writer.checksums()
    finally:
        os.close(handle)
