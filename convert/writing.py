"""Writing a checkpoint so that it is either whole or not there.

Everything goes into a hidden directory beside the destination, which is renamed when complete.
Tensors are collected up to the size of a shard, evaluated, written and let go, so that memory
holds one shard rather than the model.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlx.core as mx

from gemma4_mlx.errors import CheckpointError, InputError

SHARD_BYTES = 2 * 1024**3


@contextmanager
def new_directory(dest: Path) -> Iterator[Path]:
    """A directory that becomes ``dest`` when the block ends well and vanishes otherwise.

    Raises InputError when ``dest`` exists: nothing is written over.
    """
    if dest.exists():
        raise InputError(f"{dest} exists: choose another destination or remove it first")
    partial = dest.with_name(f".{dest.name}.partial-{os.getpid()}")
    try:
        partial.mkdir(parents=True)
        yield partial
        partial.rename(dest)
    except OSError as error:
        raise CheckpointError(f"{dest} cannot be written: {error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


class ShardWriter:
    """Takes tensors one by one and writes safetensors files of at most ``shard_bytes``."""

    def __init__(self, directory: Path, shard_bytes: int = SHARD_BYTES):
        self.directory, self.shard_bytes = directory, shard_bytes
        self.waiting: dict[str, mx.array] = {}
        self.shards: list[list[str]] = []
        self.total_bytes = 0

    def add(self, tensors: dict[str, mx.array]) -> None:
        """Tensors that belong together (a weight, its scales and biases) stay in one file."""
        size = sum(tensor.nbytes for tensor in tensors.values())
        waiting = sum(tensor.nbytes for tensor in self.waiting.values())
        if self.waiting and waiting + size > self.shard_bytes:
            self._flush()
        self.waiting |= tensors
        self.total_bytes += size

    def finish(self) -> None:
        """Write what is left and give the files their final names; several get an index."""
        self._flush()
        count = len(self.shards)
        weight_map: dict[str, str] = {}
        for number, names in enumerate(self.shards):
            final = f"model-{number + 1:05d}-of-{count:05d}.safetensors"
            if count == 1:
                final = "model.safetensors"
            self._file(number).rename(self.directory / final)
            weight_map |= dict.fromkeys(names, final)
        if count > 1:
            index = {
                "metadata": {"total_size": self.total_bytes},
                "weight_map": dict(sorted(weight_map.items())),
            }
            write_json(self.directory / "model.safetensors.index.json", index)

    def _file(self, number: int) -> Path:
        return self.directory / f"shard-{number}.safetensors"

    def _flush(self) -> None:
        # mlx.core.save_safetensors evaluates what it writes.
        file = self._file(len(self.shards))
        mx.save_safetensors(str(file), self.waiting, metadata={"format": "mlx"})
        self.shards.append(sorted(self.waiting))
        self.waiting = {}


def write_json(file: Path, content: object) -> None:
    """Write JSON as the hub's files have it: two spaces, one final newline."""
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
