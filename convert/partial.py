"""The hidden directory beside the destination, in which a conversion grows until it is whole.

    .NAME.partial/
        lock             held while a conversion is at it; the system lets go when that is killed
        manifest.json    what is being converted to what, and which files are finished
        model/           becomes NAME
        replaced/        what NAME was before, for the moment between two renames

The manifest alone says what is finished. So whenever a conversion ends, by a kill or a full disk,
the same command finds the finished files and goes on; for other sources, recipes or versions it
starts over.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from gemma4_convert.shards import Shard, is_intact
from gemma4_mlx.errors import InputError

UNFINISHED = ".unfinished"

Notice = Callable[[str], None]


class Partial:
    """The partial directory of one destination. Made and locked by ``partial_directory``."""

    def __init__(self, dest: Path):
        self.folder = folder_of(dest)
        self.model = self.folder / "model"
        self.replaced = self.folder / "replaced"
        self._manifest = self.folder / "manifest.json"
        self._finished: dict[str, list[int]] = {}
        self._fingerprint: Mapping[str, Any] = {}

    def resume(
        self, fingerprint: Mapping[str, Any], shards: Sequence[Shard], notice: Notice
    ) -> set[str]:
        """The files that an earlier run of the same conversion finished.

        Whatever else is there is deleted later, by ``clear``: until the disk is known to have room
        nothing is given up.
        """
        self._fingerprint = fingerprint
        recorded = self._read()
        if recorded is None:
            return set()
        if recorded["fingerprint"] != fingerprint:
            changed = [
                what
                for what in fingerprint
                if recorded["fingerprint"].get(what) != fingerprint[what]
            ]
            notice(
                f"the unfinished conversion in {self.folder} had another "
                f"{' and another '.join(changed) or 'format'}: starting over"
            )
            return set()
        for shard in shards:
            checksums = recorded["finished"].get(shard.file)
            if checksums is None:
                continue
            if is_intact(shard, self.model / shard.file, checksums):
                self._finished[shard.file] = checksums
            else:
                notice(f"{self.model / shard.file} is damaged and will be written again")
        if self._finished:
            notice(
                f"going on with an unfinished conversion: {len(self._finished)} of "
                f"{len(shards)} files are there"
            )
        return set(self._finished)

    def stale_bytes(self) -> int:
        """What ``clear`` will free."""
        files = [file for file in self.model.glob("*") if file.name not in self._finished]
        return sum(file.lstat().st_blocks * 512 for file in files)

    def clear(self) -> None:
        """Keep the finished files, and say so in the manifest, then delete the others."""
        self.model.mkdir(exist_ok=True)
        self._write()
        for file in self.model.iterdir():
            if file.name not in self._finished:
                file.unlink()

    def finish(self, file: Path, checksums: Sequence[int]) -> None:
        """A file that is whole and on disk gets its name without the suffix, and is recorded."""
        final = file.with_suffix("")
        file.rename(final)
        sync_directory(self.model)
        self._finished[final.name] = list(checksums)
        self._write()

    def forget(self) -> None:
        """Take nothing as finished: what is there is of no use to a later run."""
        self._finished = {}
        self._write()

    def kept(self) -> int:
        """How many finished files wait for the conversion to go on."""
        recorded = self._read() or {"finished": {}}
        return sum((self.model / name).is_file() for name in recorded["finished"])

    def _read(self) -> dict[str, Any] | None:
        """The manifest, or None where there is none that can be used."""
        try:
            found = json.loads(self._manifest.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # a first run, or damage: nothing is taken as finished
            return None
        if not isinstance(found, dict):
            return None
        parts = (found.get("fingerprint"), found.get("finished"))
        return found if all(isinstance(part, dict) for part in parts) else None

    def _write(self) -> None:
        """Replace the manifest at once: a kill leaves the old one or the new one."""
        content = {"fingerprint": dict(self._fingerprint), "finished": self._finished}
        new = self._manifest.with_suffix(".new")
        write_file(new, json.dumps(content).encode())
        new.rename(self._manifest)
        sync_directory(self.folder)


def folder_of(dest: Path) -> Path:
    """Where the conversion to ``dest`` grows: on the same disk, so that a rename publishes it."""
    return dest.with_name(f".{dest.name}.partial")


@contextmanager
def partial_directory(dest: Path) -> Iterator[Partial]:
    """The partial directory of ``dest``, locked.

    Afterwards it stays if it has finished files to go on from, and vanishes otherwise, with the
    parent folders that were made for it.

    Raises InputError when another conversion to ``dest`` is running.
    """
    partial = Partial(dest)
    made = [parent for parent in dest.parents if not parent.exists()]
    lock = _lock(partial.folder)
    try:
        yield partial
    finally:
        if partial.replaced.exists() or partial.kept():
            for file in partial.model.glob("*" + UNFINISHED):
                file.unlink()
        else:
            shutil.rmtree(partial.folder, ignore_errors=True)
            for parent in made:
                if not any(parent.iterdir()):
                    parent.rmdir()
        os.close(lock)


def _lock(folder: Path) -> int:
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:  # another conversion ended and took its directory away
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(handle)
            if not isinstance(error, BlockingIOError):
                raise
            raise InputError(
                f"another conversion to the same destination is running in {folder}: wait for it, "
                "or choose another destination"
            ) from None
        if _is_at(handle, folder / "lock"):
            return handle
        os.close(handle)


def _is_at(handle: int, file: Path) -> bool:
    """Whether the open file is still there: who held the lock before may have deleted it."""
    try:
        return os.path.samestat(os.fstat(handle), file.stat())
    except FileNotFoundError:
        return False


def write_file(file: Path, content: bytes) -> None:
    """Write a file that is on disk when this returns."""
    with file.open("wb") as stream:
        stream.write(content)
        stream.flush()
        sync(stream.fileno())


def sync(handle: int) -> None:
    """Have the disk write what it was given."""
    os.fsync(handle)
    if hasattr(fcntl, "F_FULLFSYNC"):  # macOS: its fsync leaves bytes in the disk's own cache
        with suppress(OSError):  # which network disks do not offer
            fcntl.fcntl(handle, fcntl.F_FULLFSYNC)


def sync_directory(folder: Path) -> None:
    """The names in a directory are on disk when this returns."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
