"""Rewriting a tiny checkpoint on disk without torch: shards, other names, damage."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import mlx.core as mx


def read_weights(path: Path) -> dict[str, mx.array]:
    """Every tensor of a checkpoint directory."""
    weights: dict[str, mx.array] = {}
    for file in sorted(path.glob("*.safetensors")):
        weights.update(mx.load(str(file)))
    return weights


def write_weights(path: Path, weights: dict[str, mx.array]) -> None:
    """Replace the weights of a checkpoint directory by one file."""
    mx.eval(weights)
    for file in [*path.glob("*.safetensors"), *path.glob("*.safetensors.index.json")]:
        file.unlink()
    mx.save_safetensors(str(path / "model.safetensors"), weights, metadata={"format": "mlx"})


def store_as(path: Path, dtype: str, itemsize: int, *names: str) -> None:
    """Replace tensors of ``model.safetensors`` by zeros of a dtype that MLX may not even have."""
    file = path / "model.safetensors"
    content = file.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header.pop("__metadata__", None)
    data = b""
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        raw = content[start + begin : start + end]
        if name in names:
            raw = bytes(math.prod(entry["shape"]) * itemsize)
            entry["dtype"] = dtype
        entry["data_offsets"] = [len(data), len(data) + len(raw)]
        data += raw
    encoded = json.dumps(header).encode()
    file.write_bytes(len(encoded).to_bytes(8, "little") + encoded + data)


def copy_checkpoint(source: Path, target: Path, **config_changes: Any) -> Path:
    """A copy that a test may spoil; ``config_changes`` replace top-level values of config.json."""
    shutil.copytree(source, target, dirs_exist_ok=True)
    if config_changes:
        edit_json(target / "config.json", **config_changes)
    return target


def edit_json(file: Path, **changes: Any) -> None:
    """Replace top-level values of a JSON file; None removes a key."""
    raw = json.loads(file.read_text()) | changes
    kept = {key: value for key, value in raw.items() if value is not None}
    file.write_text(json.dumps(kept, indent=2) + "\n")


def shard_checkpoint(path: Path, shards: int) -> None:
    """Split ``model.safetensors`` into several files with an index, as the hub has large models."""
    weights = read_weights(path)
    mx.eval(weights)
    (path / "model.safetensors").unlink()
    index: dict[str, str] = {}
    names = sorted(weights)
    for number in range(shards):
        file = f"model-{number + 1:05d}-of-{shards:05d}.safetensors"
        part = {name: weights[name] for name in names[number::shards]}
        mx.save_safetensors(str(path / file), part, metadata={"format": "pt"})
        index |= dict.fromkeys(part, file)
    total = sum(array.nbytes for array in weights.values())
    raw = {"metadata": {"total_size": total}, "weight_map": index}
    (path / "model.safetensors.index.json").write_text(json.dumps(raw, indent=2) + "\n")
