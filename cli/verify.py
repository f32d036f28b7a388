"""``gemma4 verify MODEL``: is a checkpoint whole, and does it run as it should?"""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gemma4_cli.console import clear_status, say, status
from gemma4_cli.pace import Pace

if TYPE_CHECKING:
    from gemma4_mlx.checks.outcome import Check

_MARKS = {"ok": "✓", "warning": "!", "failed": "✗", "skipped": "-"}
_PROBLEMS_SHOWN = 20


def verify(
    model: Annotated[
        str, typer.Argument(help="A directory, a hub id, e2b, e4b, 26b, 31b, or demo.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print all findings as JSON.")] = False,
) -> None:
    """Check files, shapes, numbers and tokenizer of a model, run it, compare with transformers.

    One line a check; the exit status is 1 if any has failed. A check that was not run says why.
    """
    status(f"looking for {model}")
    from gemma4_mlx.checks.verify import verify as verify_checkpoint

    path = _checkpoint(model)
    reading: dict[str, Pace] = {}

    def progress(what: str, done: int, total: int) -> None:
        if total:
            reading.setdefault(what, Pace(what))(done, total)
        else:
            status(what)

    found = []
    for check in verify_checkpoint(path, progress):
        found.append(check)
        if not as_json:
            _show(check)
    clear_status()
    failed = sum(check.status == "failed" for check in found)
    if as_json:
        document = {
            "model": model,
            "path": str(path),
            "ok": not failed,
            "checks": [
                {
                    "name": check.name,
                    "status": check.status,
                    "detail": check.detail,
                    "problems": list(check.problems),
                }
                for check in found
            ],
        }
        say(json.dumps(document, ensure_ascii=False, indent=2), end="\n")
    if failed:
        raise typer.Exit(1)


def _checkpoint(model: str) -> Path:
    """The directory. One in the hub's cache is looked at as it is, whole or not."""
    from gemma4_mlx.hub import cached_model, hub_name
    from gemma4_mlx.loading import find_checkpoint

    hub_id = None if Path(model).expanduser().is_dir() else hub_name(model)
    cached = cached_model(hub_id) if hub_id else None
    if cached is not None and cached.snapshot is not None:
        return cached.snapshot
    return find_checkpoint(model)


def _show(check: "Check") -> None:
    mark = _MARKS[check.status] if sys.stdout.isatty() else f"{check.status:<7}"
    say(f"{mark} {check.name}: {check.detail}", end="\n")
    for problem in check.problems[:_PROBLEMS_SHOWN]:
        say(f"    {problem}", end="\n")
    more = len(check.problems) - _PROBLEMS_SHOWN
    if more > 0:
        say(f"    and {more:,} more (--json has all of them)", end="\n")
