"""What lies in the hub's cache on this machine, which of it is Gemma 4, and taking it away again.

Everything is read from the cache's folders and from each model's ``config.json``; the network is
never asked. A model whose download broke off is told too: it takes up room all the same.

Source: huggingface_hub, "Understand caching" (``models--owner--name/{blobs,refs,snapshots}``).
"""

import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gemma4_mlx.errors import CheckpointError, HubError
from gemma4_mlx.json_files import read_json

ALIASES = {
    "e2b": "google/gemma-4-E2B-it",
    "e4b": "google/gemma-4-E4B-it",
    "26b": "google/gemma-4-26B-A4B-it",
    "31b": "google/gemma-4-31B-it",
}
# What a model cannot do without, besides weights.
ESSENTIAL = ("config.json", "tokenizer.json")

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_PREFIX = "models--"
_LIKELY_NAME = re.compile(r"gemma-?4", re.IGNORECASE)

# Hidden size and layers of the decoder → what the model is called.
SIZES = {(1536, 35): "E2B", (2560, 42): "E4B", (2816, 30): "26B A4B", (5376, 60): "31B"}
_OTHER_TYPES = {
    "gemma4_unified": "12B",
    "gemma4_assistant": "assistant",
    "gemma4_unified_assistant": "assistant",
}
_DTYPES = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}


@dataclass(frozen=True)
class CachedModel:
    """A model in the hub's cache.

    ``folder`` holds all its revisions, ``size`` bytes of files. ``snapshot`` is the revision that
    loading would take, None when there is none; ``is_complete`` says whether none of its files is
    missing. ``kind`` ("E2B", "12B", …) and ``weights`` ("bf16", "4 bit") are read from its
    config.json and None where that tells nothing.
    """

    hub_id: str
    folder: Path
    size: int
    snapshot: Path | None
    is_complete: bool
    is_gemma4: bool
    kind: str | None
    weights: str | None

    @property
    def is_runnable(self) -> bool:
        """Whether it is of a kind that this package runs, as far as its config.json tells."""
        return self.is_gemma4 and self.kind not in _OTHER_TYPES.values()


def hub_name(name: str) -> str | None:
    """The hub id that an alias stands for, a hub id as it is, None for anything else."""
    hub_id = ALIASES.get(name.lower(), name)
    looks_like_a_path = name.startswith((".", "/", "~"))
    return None if looks_like_a_path or not _HUB_ID.fullmatch(hub_id) else hub_id


def cache_folder() -> Path:
    """Where the hub's cache is: $HF_HUB_CACHE, or ``hub`` in $HF_HOME, by default in ~/.cache."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE).expanduser()


def cached_models() -> list[CachedModel]:
    """Every model in the cache, by name; [] where there is no cache."""
    folders = cache_folder().glob(f"{_PREFIX}*--*")
    return sorted((_read(folder) for folder in folders if folder.is_dir()), key=lambda m: m.hub_id)


def cached_model(hub_id: str) -> CachedModel | None:
    """One model of the cache, whole or not; None when nothing of it is there."""
    folder = repository_folder(hub_id)
    return _read(folder) if folder.is_dir() else None


def repository_folder(hub_id: str) -> Path:
    """Where the cache keeps a model, or would keep it."""
    return cache_folder() / (_PREFIX + hub_id.replace("/", "--"))


def remove(model: CachedModel) -> int:
    """Take a model out of the cache, with all its revisions; how many bytes that freed.

    Raises HubError when something of it stays behind.
    """
    from huggingface_hub import scan_cache_dir

    cache = scan_cache_dir(model.folder.parent)
    own = [repo for repo in cache.repos if repo.repo_path.resolve() == model.folder.resolve()]
    # Of this model alone: a copy of a repository has the same commits, which are told apart by
    # nothing else.
    cache = replace(cache, repos=frozenset(own))
    revisions = [revision.commit_hash for repo in own for revision in repo.revisions]
    if revisions:
        cache.delete_revisions(*revisions).execute()
    # The library passes over what it cannot make sense of, such as a download broken off.
    shutil.rmtree(model.folder, ignore_errors=True)
    if model.folder.exists():
        raise HubError(
            f"{model.folder} could not be removed wholly, {_size(model.folder)} bytes are left: "
            "check whether its files are yours to delete"
        )
    return model.size


def _read(folder: Path) -> CachedModel:
    hub_id = folder.name.removeprefix(_PREFIX).replace("--", "/")
    snapshot = _snapshot(folder)
    config: Mapping[str, Any] | None = None
    if snapshot is not None:
        try:
            config = read_json(snapshot / "config.json")
        except CheckpointError:  # missing or damaged: then the name alone tells what it may be
            config = None
    is_gemma4 = (
        bool(_LIKELY_NAME.search(hub_id))
        if config is None
        else str(config.get("model_type")).startswith("gemma4")
    )
    return CachedModel(
        hub_id=hub_id,
        folder=folder,
        size=_size(folder),
        snapshot=snapshot,
        is_complete=snapshot is not None and _is_complete(snapshot),
        is_gemma4=is_gemma4,
        kind=_kind(config) if is_gemma4 and config else None,
        weights=_weights(config) if config else None,
    )


def _snapshot(folder: Path) -> Path | None:
    """The revision called main, else the one that came last."""
    try:
        main = folder / "snapshots" / (folder / "refs" / "main").read_text().strip()
        if main.is_dir():
            return main
    except (OSError, ValueError):  # no such revision was named
        pass
    there = [path for path in (folder / "snapshots").glob("*") if path.is_dir()]
    return max(there, key=lambda path: path.stat().st_mtime, default=None)


def _is_complete(snapshot: Path) -> bool:
    """Whether every file that loading asks for is there; what is in them is for others to read."""
    index = snapshot / "model.safetensors.index.json"
    if index.exists():
        try:
            names = {str(name) for name in read_json(index)["weight_map"].values()}
        except (CheckpointError, KeyError, AttributeError):  # not one shard is known
            return False
    else:
        names = {file.name for file in snapshot.glob("*.safetensors")}
    return bool(names) and all((snapshot / name).exists() for name in (*names, *ESSENTIAL))


def _size(folder: Path) -> int:
    """Bytes of the files in a folder; a link counts nothing, its target does where it lies."""
    return sum(file.stat().st_size for file in _files(folder))


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            yield path


def _kind(config: Mapping[str, Any]) -> str | None:
    """What size of Gemma 4 a config.json is of, None for one that was not released."""
    other = _OTHER_TYPES.get(str(config.get("model_type")))
    if other is not None:
        return other
    text = config.get("text_config", config)
    if not isinstance(text, Mapping):
        return None
    sizes = (text.get("hidden_size"), text.get("num_hidden_layers"))
    return next((kind for known, kind in SIZES.items() if known == sizes), None)


def _weights(config: Mapping[str, Any]) -> str | None:
    """In how many bits the weights are kept."""
    packed = config.get("quantization") or config.get("quantization_config")
    if isinstance(packed, Mapping):
        if "quant_method" in packed:
            return str(packed["quant_method"])
        widths = {packed.get("bits")}
        widths |= {entry.get("bits") for entry in packed.values() if isinstance(entry, Mapping)}
        bits = sorted(width for width in widths if isinstance(width, int))
        mode = packed.get("mode", "affine")
        named = "" if mode == "affine" else f" {mode}"
        return f"{'/'.join(map(str, bits))} bit{named}" if bits else None
    text = config.get("text_config")
    dtype = config.get("dtype") or config.get("torch_dtype")
    if dtype is None and isinstance(text, Mapping):
        dtype = text.get("dtype") or text.get("torch_dtype")
    return _DTYPES.get(str(dtype)) if dtype else None
