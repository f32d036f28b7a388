"""A checkpoint is whole or absent; shards come with an index."""

import json
from pathlib import Path

import mlx.core as mx
import pytest

from gemma4_convert.writing import ShardWriter, new_directory
from gemma4_mlx.errors import InputError
from gemma4_mlx.loading.safetensors_file import checkpoint_tensors


def test_the_directory_appears_when_it_is_whole(tmp_path: Path) -> None:
    dest = tmp_path / "new" / "model"
    with new_directory(dest) as directory:
        (directory / "config.json").write_text("{}")
        assert not dest.exists()
    assert (dest / "config.json").read_text() == "{}"
    assert list(dest.parent.iterdir()) == [dest]


def test_nothing_stays_after_a_failure(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), new_directory(tmp_path / "model") as directory:
        (directory / "config.json").write_text("{}")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_an_existing_destination_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="exists"), new_directory(tmp_path):
        pass
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_shards(tmp_path: Path) -> None:
    tensors = {f"t{i}": mx.full((256,), i, dtype=mx.float32) for i in range(5)}
    writer = ShardWriter(tmp_path, shard_bytes=2048)
    for name, tensor in tensors.items():
        writer.add({name: tensor})
    writer.finish()

    files = sorted(file.name for file in tmp_path.glob("*.safetensors"))
    assert files == [f"model-{i:05d}-of-00003.safetensors" for i in (1, 2, 3)]
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == 5 * 1024
    assert index["weight_map"].keys() == tensors.keys() == checkpoint_tensors(tmp_path).keys()
    for name, tensor in tensors.items():
        loaded = mx.load(str(tmp_path / index["weight_map"][name]))
        assert mx.array_equal(loaded[name], tensor)


def test_one_file_needs_no_index(tmp_path: Path) -> None:
    writer = ShardWriter(tmp_path)
    writer.add({"weight": mx.zeros((4,))})
    writer.finish()
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]


def test_what_belongs_together_stays_together(tmp_path: Path) -> None:
    writer = ShardWriter(tmp_path, shard_bytes=1024)
    for i in range(3):
        writer.add({f"{i}.weight": mx.zeros((200,)), f"{i}.scales": mx.zeros((100,))})
    writer.finish()
    weight_map = json.loads((tmp_path / "model.safetensors.index.json").read_text())["weight_map"]
    assert len(set(weight_map.values())) == 3
    assert all(weight_map[f"{i}.weight"] == weight_map[f"{i}.scales"] for i in range(3))
