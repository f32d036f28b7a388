"""Reading a checkpoint's JSON files, with errors that name the file, the key and the remedy."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from gemma4_mlx.errors import CheckpointError

_REQUIRED: Any = object()
_LARGEST = 2**31 - 1  # MLX counts every dimension in 32 bits
_FINITE = sys.float_info.max


def read_json(file: Path) -> dict[str, Any]:
    """Parse a JSON object; CheckpointError names the file when it cannot be."""
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(
            f"{file} is missing: {file.parent} is not a complete checkpoint; download it again"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{file} cannot be read as JSON ({error}); download it again"
        ) from None
    if not isinstance(raw, dict):
        raise CheckpointError(f"{file} holds a JSON {type(raw).__name__}, expected an object")
    return raw


class Section:
    """Looks up typed values in one object of ``config.json``.

    A value that is absent (or null) gives the default; without a default, and for a value of
    another type or out of range, CheckpointError says what was expected.
    """

    def __init__(self, raw: Any, name: str):
        if not isinstance(raw, Mapping):
            raise CheckpointError(f"config.json: {name} is {raw!r:.60}, expected an object")
        self.raw, self.name = raw, name

    def value(self, key: str, default: Any = _REQUIRED) -> Any:
        """The value as it is."""
        found = self.raw.get(key)
        if found is not None:
            return found
        if default is _REQUIRED:
            raise CheckpointError(
                f"config.json: {self.name} has no {key!r}; "
                "use the config.json that came with the weights"
            )
        return default

    def integer(self, key: str, default: Any = _REQUIRED, *, at_least: int = 1) -> Any:
        """A whole number."""
        found = self.value(key, default)
        if found is default or (type(found) is int and at_least <= found <= _LARGEST):
            return found
        self.refuse(key, f"a whole number from {at_least} to {_LARGEST}")

    def number(
        self, key: str, default: Any = _REQUIRED, *, above: float = 0.0, to: float = _FINITE
    ) -> Any:
        """A finite number greater than ``above``, up to ``to``."""
        found = self.value(key, default)
        if found is default:
            return found
        if type(found) in (int, float) and max(above, -_FINITE) < found <= to:
            return float(found)
        limit = "" if to == _FINITE else f", at most {to}"
        self.refuse(key, f"a finite number above {above}{limit}")

    def boolean(self, key: str) -> bool:
        """True or false; false when absent."""
        found = self.value(key, False)
        if isinstance(found, bool):
            return found
        self.refuse(key, "true or false")

    def section(self, key: str) -> "Section":
        """An object within this one."""
        return Section(self.value(key), f"{self.name}.{key}")

    def ids(self, key: str, vocab_size: int) -> tuple[int, ...]:
        """One token id or a list of them, as a tuple."""
        found = self.value(key)
        listed = found if isinstance(found, list) else [found]
        if listed and all(type(item) is int and 0 <= item < vocab_size for item in listed):
            return tuple(listed)
        self.refuse(key, f"a token id below {vocab_size} or a list of them")

    def expect(self, key: str, *only: object) -> None:
        """Nothing but these values, the first of which is what every Gemma 4 model has."""
        found = self.raw.get(key)
        if found is not None and found not in only:
            self.refuse(key, " or ".join(repr(value) for value in only))

    def refuse(self, key: str, expected: str) -> NoReturn:
        """CheckpointError: the value of this key is not what was expected."""
        raise CheckpointError(
            f"config.json: {key} of {self.name} is {self.raw.get(key)!r:.60}, expected {expected}; "
            "use the config.json that came with the weights"
        )
