"""How long another process takes and how much memory it holds at its peak.

Linux tells resident and anonymous memory of a running process, and both are sampled; anonymous is
what cannot be dropped and read again from a file. Elsewhere the peak resident size is what the
system reports when the process has ended.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_INTERVAL = 0.02  # seconds between samples


@dataclass(frozen=True)
class Measured:
    """Of one process: bytes, seconds, exit code. ``anonymous`` is 0 where nothing tells it."""

    resident: int
    anonymous: int
    seconds: float
    code: int


def run(command: Sequence[str], log: Path) -> Measured:
    """Run a command to its end, its output in ``log``."""
    with log.open("wb") as output:
        begin = time.perf_counter()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        resident = anonymous = 0
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            held = sample(process.pid)
            resident = max(resident, held.get("VmHWM", 0))
            anonymous = max(anonymous, held.get("RssAnon", 0))
            time.sleep(_INTERVAL)
        seconds = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    # A child's ru_maxrss begins with its parent's size, so Linux's own mark is the better one.
    reported = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return Measured(resident or reported, anonymous, seconds, process.returncode)


def sample(pid: int | str) -> dict[str, int]:
    """Bytes by name from /proc; nothing where there is no /proc, or the process just ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    fields = (line.split() for line in lines if line.endswith("kB"))
    return {name.rstrip(":"): int(value) * 1024 for name, value, _ in fields}
