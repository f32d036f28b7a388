"""Checks of single settings that callers pass: a number of the right kind, within its range."""

import math
from numbers import Integral, Real
from typing import Any

from gemma4_mlx.errors import InputError


def whole_number(name: str, value: Any, at_least: int, below: float = math.inf) -> int:
    """``value`` as an int (NumPy's are taken too); InputError names it and what was expected."""
    if isinstance(value, Integral) and not isinstance(value, bool):
        whole = int(value)
        if at_least <= whole < below:
            return whole
    limit = "" if below == math.inf else f" and below {below}"
    raise InputError(
        f"{name} is {value!r:.60}, expected a whole number of at least {at_least}{limit}"
    )


def number(name: str, value: Any) -> float:
    """``value`` as a finite float; InputError for anything else, a text or a truth value too."""
    if isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    raise InputError(f"{name} is {value!r:.60}, expected a number")
