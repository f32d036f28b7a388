"""Values of ``processor_config.json``, each checked where it is read.

The file comes with a download and is edited by hand: ``"hop_length": 0`` or a mean of two numbers
would surface as a division by zero deep inside the mel filters, or not at all. Every refusal has
one form: the file, the key, what it holds, what is expected there.
"""

import math
import reprlib
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from gemma4_mlx.errors import CheckpointError

FILE = "processor_config.json"

# No length, rate or count of this file comes near; what is larger would only exhaust the memory.
LARGEST = 1_000_000


class Values:
    """One block of the file. A key that is absent or null has the default.

    Every method raises CheckpointError for a value that is not what its name says.
    """

    def __init__(self, raw: Any, name: str = ""):
        self.raw: Mapping[str, Any] = {} if raw is None else raw
        self.prefix = f"{name}." if name else ""
        if not isinstance(self.raw, Mapping):
            raise _refusal(name, raw, "an object")

    def block(self, key: str) -> "Values":
        """The object under a key, empty when it is absent."""
        return Values(self.raw.get(key), self.prefix + key)

    def has(self, key: str) -> bool:
        """Whether the key is there and not null."""
        return self.raw.get(key) is not None

    def refuse(self, key: str, expected: str) -> NoReturn:
        """CheckpointError for the value of a key."""
        raise _refusal(self.prefix + key, self.raw.get(key), expected)

    def count(self, key: str, default: int) -> int:
        """A whole number above zero."""
        value = self.raw.get(key)
        if value is None:
            return default
        if type(value) is not int or not 1 <= value <= LARGEST:
            self.refuse(key, f"a whole number from 1 to {LARGEST}")
        return value

    def number(self, key: str, default: float, *, zero: bool = False) -> float:
        """A finite number above zero; ``zero`` lets zero in."""
        value = self.raw.get(key)
        if value is None:
            return default
        if not _is_number(value) or value < 0 or (value == 0 and not zero):
            self.refuse(key, "a number of zero or more" if zero else "a number above zero")
        return float(value)

    def numbers(self, key: str, length: int, *, zero: bool = True) -> tuple[float, ...] | None:
        """A list of so many finite numbers, without zeros unless ``zero``; None when absent."""
        values = self.raw.get(key)
        if values is None:
            return None
        fits = isinstance(values, list | tuple) and len(values) == length
        if not fits or not all(_is_number(value) and (zero or value) for value in values):
            self.refuse(key, f"a list of {length} numbers{'' if zero else ', none of them zero'}")
        return tuple(map(float, values))

    def switch(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self.raw.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.refuse(key, "true or false")
        return value

    def choice(self, key: str, choices: Sequence[int], default: int) -> int:
        """One of a few whole numbers."""
        value = self.raw.get(key)
        if value is None:
            return default
        if type(value) is not int or value not in choices:
            self.refuse(key, f"one of {', '.join(map(str, choices))}")
        return value

    def only(self, key: str, value: bool | float | str) -> None:
        """The one value that every Gemma 4 model has."""
        found = self.raw.get(key)
        if found is None:
            return
        if found != value or isinstance(found, bool) != isinstance(value, bool):
            self.refuse(key, f"{value!r} as in every Gemma 4 model")


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number of more than 300 digits
        return False


def _refusal(key: str, found: Any, expected: str) -> CheckpointError:
    return CheckpointError(
        f"{FILE}: {key} is {reprlib.repr(found)}, expected {expected}: "
        "use the file that came with the weights"
    )
