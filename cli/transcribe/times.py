"""Times on the command line, as people write them."""

import re

import typer

_CLOCK = re.compile(r"(?:(\d+):)?(\d+):(\d{2}(?:\.\d+)?)")


def seconds(text: str | float) -> float:
    """``90``, ``90.5``, ``1:30`` or ``1:02:03.5`` in seconds.

    >>> [seconds(t) for t in ("90", "1:30", "1:02:03.5")]
    [90.0, 90.0, 3723.5]
    """
    given = str(text).strip()
    found = _CLOCK.fullmatch(given)
    if found:
        hours, minutes, rest = found.groups()
        if float(rest) < 60 and (hours is None or int(minutes) < 60):
            return int(hours or 0) * 3600 + int(minutes) * 60 + float(rest)
    elif re.fullmatch(r"\d+(\.\d*)?|\.\d+", given):
        return float(given)
    raise typer.BadParameter(f"{given!r} is no time: give seconds, as 90, or 1:30 or 1:02:03")
