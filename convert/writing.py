"""Streaming a planned conversion to disk: in little memory, and whole or not there.

Every file is laid out beforehand, its tensors are read and packed in blocks of rows, and all of it
grows in a hidden directory that becomes the destination by a rename. Killed at any moment, the
destination is absent or complete, and the same command goes on with the files that are finished.
"""

import errno
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import mlx.core as mx

from gemma4_convert.blocks import SourceFiles, UnfitNumbers, blocks, small_cache, source_bytes
from gemma4_convert.destination import (
    publish,
    refuse_existing,
    refuse_full_disk,
    refuse_source,
    settle,
)
from gemma4_convert.partial import (
    UNFINISHED,
    Notice,
    Partial,
    partial_directory,
    sync,
    write_file,
)
from gemma4_convert.plan import ConversionPlan
from gemma4_convert.shards import INDEX, Shard, ShardWriter, index, lay_out
from gemma4_mlx import __version__
from gemma4_mlx.errors import CheckpointError, InputError

SHARD_BYTES = 2 * 1024**3

# Called with the bytes of the source that are done, and all of them.
Progress = Callable[[int, int], None]


class _Changed(CheckpointError):
    """The source is not what it was when the conversion began."""


def write_conversion(
    plan: ConversionPlan,
    dest: Path,
    companions: Mapping[str, bytes],
    *,
    progress: Progress | None = None,
    notice: Notice | None = None,
    force: bool = False,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write the planned tensors and the ``companions`` (by file name, config.json too) to ``dest``.

    ``notice`` is told in a sentence what a user should know: that an earlier run is taken up, or
    what is kept of this one. ``force`` replaces a checkpoint at ``dest`` once the new one is whole.

    Raises InputError for a ``dest`` that exists or holds the source, is being converted to by
    another process, or has no room on its disk; CheckpointError for a source that changes, cannot
    be read or holds NaN. Unless the source is at fault, what is finished until then is kept for
    the same call to go on from.
    """
    dest = Path(os.path.realpath(dest))
    report, tell = progress or (lambda done, total: None), notice or (lambda message: None)
    files = sorted({tensor.source.file for tensor in plan.tensors})
    shards = lay_out(plan.tensors, shard_bytes)
    extras = dict(companions)
    if len(shards) > 1:
        extras[INDEX] = as_json(index(shards))
    try:
        refuse_source(dest, plan.source, files)
        with partial_directory(dest) as partial:
            settle(partial, dest)
            refuse_existing(dest, force)
            fingerprint = _fingerprint(plan, files, shards)
            finished = partial.resume(fingerprint, shards, tell)
            missing = [shard for shard in shards if shard.file not in finished]
            needed = sum(shard.nbytes for shard in missing) + sum(map(len, extras.values()))
            refuse_full_disk(partial, dest, needed)
            partial.clear()
            try:
                _write_shards(plan, shards, missing, partial, report)
                for name, content in extras.items():
                    write_file(partial.model / name, content)
                if _fingerprint(plan, files, shards) != fingerprint:
                    raise _Changed(
                        f"{plan.source} changed while it was converted: convert it again when "
                        "nothing else writes there"
                    )
                publish(partial, dest)
            except (UnfitNumbers, _Changed):  # with another source no file of this one will do
                partial.forget()
                raise
            except BaseException:  # Ctrl-C above all
                if partial.kept():
                    tell(_what_is_kept(partial, shards))
                raise
    except OSError as error:
        raise _unwritable(dest, error) from error


def _write_shards(
    plan: ConversionPlan,
    shards: Sequence[Shard],
    missing: Sequence[Shard],
    partial: Partial,
    report: Progress,
) -> None:
    total = sum(source_bytes(tensor) for tensor in plan.tensors)
    done = total - sum(source_bytes(tensor) for shard in missing for tensor in shard.tensors)
    report(done, total)
    with SourceFiles() as files, small_cache():
        for shard in missing:
            file = partial.model / (shard.file + UNFINISHED)
            with file.open("wb", buffering=0) as stream:
                writer = ShardWriter(shard, stream.fileno())
                for block in blocks(shard.tensors, files, plan.recipe.dtype):
                    writer.write(block)
                    done += block.source_bytes
                    report(done, total)
                checksums = writer.checksums()
                sync(stream.fileno())
            partial.finish(file, checksums)


def _fingerprint(
    plan: ConversionPlan, files: Sequence[Path], shards: Sequence[Shard]
) -> dict[str, str]:
    """What two runs must have in common for one to go on where the other ended."""
    sources = [(file.name, *_size_and_time(file)) for file in files]
    tensors = [
        (tensor.path, tensor.source.file.name, tensor.source.dtype, tensor.source.shape,
         tensor.source.start, tensor.rows, repr(tensor.quantization))
        for tensor in plan.tensors
    ]  # fmt: skip
    result = [plan.recipe.dtype, tensors, [shard.header[8:].decode() for shard in shards]]
    return {
        "source": _digest([str(plan.source.resolve()), sources]),
        "recipe": _digest(result),
        "version": f"gemma4-mlx {__version__}, mlx {version('mlx')}, {mx.default_device()}",
    }


def _size_and_time(file: Path) -> tuple[int, int]:
    try:
        found = file.stat()
    except OSError as error:
        raise CheckpointError(
            f"{file} cannot be read ({error.strerror}): download it again"
        ) from None
    return found.st_size, found.st_mtime_ns


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _what_is_kept(partial: Partial, shards: Sequence[Shard]) -> str:
    return (
        f"{partial.kept()} of {len(shards)} files are kept in {partial.folder}: "
        "the same command goes on from there"
    )


def _unwritable(dest: Path, error: OSError) -> InputError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return InputError(
            f"the disk of {dest} is full: free some space and run the same command again"
        )
    return InputError(
        f"{dest} cannot be written ({error.strerror or error}): choose another destination"
    )


def as_json(content: object) -> bytes:
    """JSON as the hub's files have it: two spaces, one final newline."""
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
