"""Downloads that go on where they stopped, also when the program was ended in between.

huggingface_hub keeps the files that are whole and starts the one in flight anew: for E2B, a single
file of 10 GB, that is everything. So the large files are fetched here, each into
``blobs/<sha256>.incomplete`` of the hub's own cache, from the byte that is missing on; then its
checksum is compared. The rest, and the links between the files, are huggingface_hub's.

Source: huggingface_hub, ``file_download`` (its requests, retries and progress bars are used).
Deviation: plain HTTP also where the hub offers Xet, which cannot go on either.
"""

import hashlib
import os
import shutil
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from gemma4_mlx.errors import HubError
from gemma4_mlx.hub import cache_folder, repository_folder

WANTED = ["*.json", "*.safetensors", "*.jinja"]
_BLOCK = 2**24  # bytes read at a time


@dataclass(frozen=True)
class HubFile:
    """One file of a model; ``blob`` is what the cache calls its content.

    That is the checksum (SHA-256) of a large file, and what git calls a small one.
    """

    name: str
    size: int
    blob: str
    is_large: bool


@dataclass(frozen=True)
class Listing:
    """What the hub has of a model at its newest commit: of all its files those that are wanted."""

    hub_id: str
    commit: str
    files: tuple[HubFile, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    def missing(self) -> list[HubFile]:
        """Those whose content is not in the cache, or only in part."""
        folder = repository_folder(self.hub_id)
        return [
            file
            for file in self.files
            if not (folder / "snapshots" / self.commit / file.name).exists()
            and not (folder / "blobs" / file.blob).exists()
        ]


def ask_hub(hub_id: str) -> Listing:
    """What there is to download. Raises what huggingface_hub raises."""
    from huggingface_hub import HfApi

    info = HfApi().model_info(hub_id, files_metadata=True)
    found = {file.rfilename: file for file in info.siblings or ()}
    files = []
    for name in sorted(found):
        if not any(fnmatch(name, pattern) for pattern in WANTED):
            continue
        size, large = found[name].size or 0, found[name].lfs
        blob = large.sha256 if large else found[name].blob_id or ""
        files.append(HubFile(name, size, blob, is_large=bool(large)))
    return Listing(hub_id, str(info.sha), tuple(files))


def download(listing: Listing) -> Path:
    """Fetch what is missing; the directory with the checkpoint.

    Until all of it is there, an older revision stays the one that is loaded. Raises HubError for
    lack of room and for what arrives damaged, else what huggingface_hub raises.
    """
    from huggingface_hub import snapshot_download

    missing = listing.missing()
    _check_room(listing, missing)
    for file in missing:
        if file.is_large:
            _fetch(listing, file)
    path = snapshot_download(
        listing.hub_id,
        revision=listing.commit,
        allow_patterns=WANTED,
        tqdm_class=_no_bar(),  # kilobytes: not worth three bars
    )
    _call_it_main(listing)
    return Path(path)


def _no_bar() -> Any:
    from huggingface_hub.utils import tqdm  # type: ignore[attr-defined]

    class NoBar(tqdm):
        def __init__(self, *args: Any, **settings: Any):
            super().__init__(*args, **settings | {"disable": True})

    return NoBar


def _call_it_main(listing: Listing) -> None:
    """From now on this commit is the one that loading finds."""
    main = repository_folder(listing.hub_id) / "refs" / "main"
    main.parent.mkdir(exist_ok=True)
    written = main.with_name(".main.new")
    written.write_text(listing.commit)
    os.replace(written, main)


def _partial(listing: Listing, file: HubFile) -> Path:
    return repository_folder(listing.hub_id) / "blobs" / f"{file.blob}.incomplete"


def _check_room(listing: Listing, missing: list[HubFile]) -> None:
    begun = [_partial(listing, file) for file in missing if file.is_large]
    there = sum(partial.stat().st_size for partial in begun if partial.exists())
    needed = sum(file.size for file in missing) - there
    folder = cache_folder()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise HubError(
            f"{listing.hub_id} needs {needed / 1e9:.1f} GB more, but the disk of {folder} has "
            f"{free / 1e9:.1f} GB left: make room, or set HF_HOME to a folder on another disk"
        )


def _fetch(listing: Listing, file: HubFile) -> None:
    """One large file into the cache's blobs, from the byte where an earlier attempt stopped."""
    from huggingface_hub import get_token, hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

    token = get_token()
    partial = _partial(listing, file)
    blob = partial.with_suffix("")
    lock = cache_folder() / ".locks" / repository_folder(listing.hub_id).name / f"{file.blob}.lock"
    for folder in (blob.parent, lock.parent):
        folder.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(lock):  # the one huggingface_hub takes for this file
        if blob.exists():
            return
        with partial.open("ab") as stream:
            if stream.tell() > file.size:
                stream.truncate(0)
            http_get(
                hf_hub_url(listing.hub_id, file.name, revision=listing.commit),
                stream,
                resume_size=stream.tell(),
                headers={"authorization": f"Bearer {token}"} if token else {},
                expected_size=file.size,
                displayed_filename=file.name,
            )
        found = _sha256(partial)
        if found != file.blob:
            partial.unlink()
            raise HubError(
                f"{file.name} of {listing.hub_id} arrived damaged (checksum {found[:12]}…, "
                f"expected {file.blob[:12]}…) and was removed: run the same command again"
            )
        os.replace(partial, blob)


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
