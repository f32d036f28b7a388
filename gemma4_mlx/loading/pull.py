"""Bring the newest of a model from the hub into its cache, after a look at what it is.

Naming a hub id to ``load`` takes what the cache has, if that is whole. This asks the hub first.
"""

from dataclasses import dataclass
from pathlib import Path

from gemma4_mlx.config import Gemma4Config
from gemma4_mlx.errors import CheckpointError, HubError
from gemma4_mlx.hub import ESSENTIAL, cached_model, remove
from gemma4_mlx.hub_download import Listing, ask_hub, download
from gemma4_mlx.json_files import read_json
from gemma4_mlx.loading.find import told_in_one_line, whole_in_cache


@dataclass(frozen=True)
class Pulled:
    """Where the checkpoint lies and its bytes; those that were missing and were fetched.

    ``asked`` is false when the hub did not tell what it has and the cache had all of it.
    """

    path: Path
    size: int
    fetched: int
    asked: bool = True


def pull(hub_id: str) -> Pulled:
    """Download what the cache lacks of a model, going on where an earlier attempt stopped.

    Raises CheckpointError for what is no Gemma 4 checkpoint, before its weights are fetched, and
    HubError when the hub cannot give it.
    """
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
    )

    with told_in_one_line(hub_id):
        try:
            listing = ask_hub(hub_id)
        except Exception as error:  # of whatever kind: what is whole serves without the hub
            there = whole_in_cache(hub_id)
            if there is None and isinstance(error, HfHubHTTPError | HFValidationError):
                raise  # that is the hub's answer
            if there is None:
                raise LocalEntryNotFoundError(str(error)) from None
            size = sum(file.stat().st_size for file in there.rglob("*") if file.is_file())
            return Pulled(there, size, fetched=0, asked=False)
        fetched = sum(file.size for file in listing.missing())
        _check_kind(listing)
        path = download(listing)
    if whole_in_cache(hub_id) is None:
        raise HubError(
            f"{path} lacks files of a checkpoint although the hub has no more of {hub_id!r}: "
            "choose another repository"
        )
    return Pulled(path, listing.size, fetched)


def _check_kind(listing: Listing) -> None:
    """CheckpointError unless this is a checkpoint of a Gemma 4 model that this package runs."""
    from huggingface_hub import hf_hub_download

    names = {file.name for file in listing.files}
    lacking = [name for name in ESSENTIAL if name not in names]
    if not any(name.endswith(".safetensors") for name in names):
        lacking.append("*.safetensors")
    if lacking:
        raise CheckpointError(
            f"{listing.hub_id!r} has no {', '.join(lacking)}: choose a repository with a Gemma 4 "
            "checkpoint in safetensors"
        )
    was_there = cached_model(listing.hub_id) is not None
    config = hf_hub_download(listing.hub_id, "config.json", revision=listing.commit)
    try:
        Gemma4Config.from_dict(read_json(Path(config)))
    except CheckpointError as error:
        model = cached_model(listing.hub_id)
        if model is not None and not was_there:
            remove(model)  # nothing but that config.json
        raise CheckpointError(f"{listing.hub_id!r} was not downloaded: {error}") from None
