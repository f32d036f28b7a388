"""Blocks of rows give the bits that whole tensors give."""

import os
from pathlib import Path

import mlx.core as mx
import pytest

from gemma4_convert.blocks import (
    Block,
    SourceFiles,
    UnfitNumbers,
    blocks,
    small_cache,
    source_bytes,
)
from gemma4_convert.plan import ConversionPlan, PlannedTensor, make_plan
from gemma4_mlx.errors import CheckpointError
from gemma4_mlx.loading.dtypes import STORED_DTYPES
from tests import goldens
from tests.convert.planned import RECIPES, packed_whole, plan_of, same_bits, source_in
from tests.reference.checkpoints import copy_checkpoint

STORED = {kind.mlx: name for name, kind in STORED_DTYPES.items()}
# 32 rows at a time of a tensor that is wider than this many bytes.
SMALL = 1


def converted(plan: ConversionPlan, block_bytes: int) -> dict[str, mx.array]:
    """Every part, put together from its blocks."""
    pieces: dict[str, list[mx.array]] = {}
    with SourceFiles() as files:
        for block in blocks(plan.tensors, files, plan.recipe.dtype, block_bytes):
            for name, rows in block.parts.items():
                pieces.setdefault(name, []).append(rows)
    shapes = {name: part.shape for tensor in plan.tensors for name, part in tensor.parts.items()}
    return {name: mx.concatenate(rows).reshape(shapes[name]) for name, rows in pieces.items()}


def block_list(tensor: PlannedTensor, block_bytes: int) -> list[Block]:
    with SourceFiles() as files:
        return list(blocks([tensor], files, None, block_bytes))


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("family", ["e2b", "26b"])
def test_blocks_give_the_bits_of_the_whole(family: str, recipe: str) -> None:
    """Layouts too: e2b has both kinds of convolution, 26b the experts' halves."""
    plan = plan_of(family, RECIPES[recipe])
    expected, found = packed_whole(plan), converted(plan, SMALL)
    assert found.keys() == expected.keys()
    assert [name for name in expected if not same_bits(found[name], expected[name])] == []


@pytest.mark.parametrize("recipe", ["unquantized", "float16", "3 bits", "mxfp4", "nvfp4"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "mixed"])
def test_sources_of_every_dtype(dtype: str, recipe: str, tmp_path: Path) -> None:
    """Scales and what is kept have the dtype that each tensor has in the source."""
    plan = make_plan(source_in(dtype, "e2b", tmp_path / "source"), RECIPES[recipe])
    expected, found = packed_whole(plan), converted(plan, 4096)
    assert [name for name in expected if not same_bits(found[name], expected[name])] == []
    parts = {name: part for tensor in plan.tensors for name, part in tensor.parts.items()}
    assert {name: part.dtype for name, part in parts.items()} == {
        name: STORED[array.dtype] for name, array in expected.items()
    }


def test_a_table_comes_in_many_blocks_and_the_last_is_short() -> None:
    plan = plan_of("e2b")
    table = next(tensor for tensor in plan.tensors if tensor.group == "ple_table")
    rows, width = table.shape
    parts = block_list(table, 96 * width * 2)
    heights = [block.parts[table.name].shape[0] for block in parts]
    assert heights == [96] * (rows // 96) + [rows % 96] * (rows % 96 > 0)
    assert heights[0] > heights[-1]
    assert sum(block.source_bytes for block in parts) == source_bytes(table) == rows * width * 2


def test_blocks_of_a_half_take_rows_of_several_experts() -> None:
    plan = plan_of("26b")
    gate = next(tensor for tensor in plan.tensors if tensor.rows is not None)
    experts, height, width = gate.shape
    per_block = 32 * (height // 32 + 1)  # ends in the middle of the second expert
    parts = block_list(gate, per_block * width * 2)
    heights = [block.parts[gate.name].shape[0] for block in parts]
    assert heights[0] == per_block > height
    assert sum(heights) == experts * height
    assert source_bytes(gate) * 2 == gate.source.nbytes


def test_progress_counts_every_byte_once() -> None:
    for family in ("e2b", "26b"):
        plan = plan_of(family)
        used = {tensor.source.start: tensor.source.nbytes for tensor in plan.tensors}
        assert sum(map(source_bytes, plan.tensors)) == sum(used.values())


@pytest.mark.parametrize("recipe", ["unquantized", "4 bits"])
def test_what_is_no_number_is_refused_but_in_clip_bounds(recipe: str, tmp_path: Path) -> None:
    source = copy_checkpoint(goldens.checkpoint("e2b"), tmp_path / "source")
    plan = make_plan(source, RECIPES[recipe])
    for end, bits, word in (
        ("model.norm.weight", b"\x81\x7f", "NaN"),
        ("layers.0.self_attn.q_proj.weight", b"\xc0\x7f", "NaN"),
        ("layers.0.self_attn.q_proj.weight", b"\x80\xff", "infinite numbers"),
        (".input_min", b"\x80\xff", None),
        (".input_min", b"\xc0\xff", "NaN"),
    ):
        tensor = next(tensor for tensor in plan.tensors if tensor.name.endswith(end))
        with tensor.source.file.open("r+b") as file:
            file.seek(tensor.source.start)
            file.write(bits)
        if word is None:
            (block,) = block_list(tensor, SMALL)
            assert block.parts[tensor.name].item() == -float("inf")
        else:
            with pytest.raises(UnfitNumbers, match=f"{tensor.path} holds {word}"):
                block_list(tensor, SMALL)


def test_a_file_cut_short_while_it_is_read(tmp_path: Path) -> None:
    source = copy_checkpoint(goldens.checkpoint("e2b"), tmp_path / "source")
    plan = make_plan(source, RECIPES["4 bits"])
    table = next(tensor for tensor in plan.tensors if tensor.group == "ple_table")
    os.truncate(table.source.file, table.source.start + 100)
    with pytest.raises(CheckpointError, match=r"ends at byte \d+, expected \d+ more"):
        block_list(table, SMALL)
    table.source.file.unlink()
    with pytest.raises(CheckpointError, match="cannot be read"):
        block_list(table, SMALL)


def test_the_cache_limit_comes_back() -> None:
    before = mx.set_cache_limit(123_456)
    try:
        with small_cache():
            inside = mx.set_cache_limit(1)
        assert inside != 123_456
        assert mx.set_cache_limit(before) == 123_456
    finally:
        mx.set_cache_limit(before)
