"""From what the user names to a directory with a checkpoint.

A name is "demo", an alias, a directory or a hub id. The hub is asked only for a hub id or an
alias, and only when its files are not already whole in the local cache: what was downloaded once
works offline.
"""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gemma4_mlx.errors import CheckpointError, Gemma4Error, HubError
from gemma4_mlx.hub import ALIASES, ESSENTIAL, cached_models, hub_name
from gemma4_mlx.hub_download import WANTED, ask_hub, download
from gemma4_mlx.loading.safetensors_file import checkpoint_tensors


def find_checkpoint(name: str | Path, *, download: bool = True) -> Path:
    """The directory of a checkpoint named by path, hub id, alias or "demo".

    Raises CheckpointError when nothing goes by that name, HubError when the hub cannot give it, or
    when it would have to be asked although ``download`` is False.
    """
    text = str(name)
    if text == "demo":
        from gemma4_mlx.demo import demo_path

        return demo_path()
    if _is_there(text, Path.is_dir):
        return Path(text).expanduser()
    if _is_there(text, Path.is_file):
        raise CheckpointError(f"{text} is a file: name the directory that holds the checkpoint")
    hub_id = hub_name(text)
    if hub_id is None:
        raise CheckpointError(
            f"there is no model {text!r}: name a directory that exists, a hub id like "
            f"{ALIASES['e2b']}, an alias ({', '.join(ALIASES)}) or 'demo'"
        )
    if download:
        return _from_hub(hub_id)
    cached = whole_in_cache(hub_id)
    if cached is None:
        raise HubError(f"{hub_id!r} is not wholly downloaded: `gemma4 pull {hub_id}` fetches it")
    return cached


def _is_there(text: str, test: Callable[[Path], bool]) -> bool:
    try:
        return bool(text) and test(Path(text).expanduser())
    except (OSError, RuntimeError, ValueError):  # too long a name, an unknown ~user, a null byte
        return False


def _from_hub(hub_id: str) -> Path:
    from huggingface_hub import snapshot_download

    cached = whole_in_cache(hub_id)
    if cached is not None:
        return cached
    with told_in_one_line(hub_id):
        try:
            listing = ask_hub(hub_id)
        except Exception:  # the same question, asked there again, tells what is wrong
            return Path(snapshot_download(hub_id, allow_patterns=WANTED))
        return download(listing)


@contextmanager
def told_in_one_line(hub_id: str) -> Iterator[None]:
    """What goes wrong with the hub, as CheckpointError or HubError that say what to do."""
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
    )

    try:
        yield
    except Gemma4Error:
        raise
    except HFValidationError:
        raise CheckpointError(
            f"{hub_id!r} is neither a directory that exists nor a name the hub could have: "
            "check the spelling"
        ) from None
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "an error"
        raise HubError(
            f"the hub answered {status} for {hub_id!r}: check the name, or log in with "
            f"`hf auth login` if it is private{_alternatives()}"
        ) from None
    except LocalEntryNotFoundError:
        raise HubError(
            f"{hub_id!r} is not in the local cache and the hub cannot be reached: connect to the "
            f"internet once, or name a local directory{_alternatives()}"
        ) from None
    except Exception as error:  # what a broken connection raises differs between HTTP libraries
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EACCES)
        reason = " ".join(str(error).split()) or type(error).__name__
        remedy = (
            "make room for it in the hub's cache, or set HF_HOME to another disk"
            if full
            else "run the same command again, and it goes on where it stopped"
        )
        raise HubError(
            f"the download of {hub_id!r} broke off ({reason}): {remedy}{_alternatives()}"
        ) from None


def whole_in_cache(hub_id: str) -> Path | None:
    """The cached snapshot, unless files of it are missing."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        path = Path(snapshot_download(hub_id, local_files_only=True, allow_patterns=WANTED))
        checkpoint_tensors(path)
    except (LocalEntryNotFoundError, HFValidationError, CheckpointError):
        return None
    return path if all((path / name).exists() for name in ESSENTIAL) else None


def _alternatives() -> str:
    """What else could be used right now: Gemma 4 models in the cache, and the demo."""
    whole = [model.hub_id for model in cached_models() if model.is_gemma4 and model.is_complete]
    return f"; available now: {', '.join([*whole, 'demo'])}"
