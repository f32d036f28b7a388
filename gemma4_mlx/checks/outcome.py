"""What a check says: passed, failed, doubtful, or not run and why."""

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """How a check ended. A warning is about what works, but not as well as it could."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Check:
    """One check: ``detail`` is what was measured, or why nothing was.

    ``problems`` are all that were found, one line each.
    """

    name: str
    status: Status
    detail: str
    problems: tuple[str, ...] = ()


def in_units(nbytes: float) -> str:
    """Bytes in GB, or MB below one.

    >>> in_units(10_246_621_918), in_units(6_373_981)
    ('10.2 GB', '6.4 MB')
    """
    return f"{nbytes / 1e9:.1f} GB" if nbytes >= 999.5e6 else f"{nbytes / 1e6:.1f} MB"


def judged(name: str, problems: list[str], passed: str, failed: str) -> Check:
    """Failed when there are problems; both details say what was looked at."""
    if problems:
        return Check(name, Status.FAILED, failed, tuple(problems))
    return Check(name, Status.OK, passed)


def refused(name: str, error: Exception) -> Check:
    """Failed with what a part of the package said; for other errors their type is told too."""
    from gemma4_mlx.errors import Gemma4Error

    reason = " ".join(str(error).split())
    if not isinstance(error, Gemma4Error):
        reason = f"{type(error).__name__}: {reason}" if reason else type(error).__name__
    return Check(name, Status.FAILED, reason)
