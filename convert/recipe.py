"""A recipe gives bits to tensor groups: how each is packed, or that it is kept.

Recipes are small TOML files. Ours are in ``recipes/`` and named by their stem; a user's own is
named by its path.

    description = "Half a line for whoever chooses a recipe."
    dtype = "bfloat16"                        # of what is not packed; left out: as in the source
    smaller_groups = false                    # left out: true, see ``policy.fitted``

    [groups]                                  # those of ``groups.py``; what is left out is kept
    attention = { bits = 4, group_size = 64 } # mode = "affine" when left out, groups of 64
    mlp = { mode = "mxfp4" }                  # which implies 4 bits in groups of 32
    audio = "keep"
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from gemma4_convert.groups import NAMES, group_of
from gemma4_convert.policy import Quantization, fitted
from gemma4_mlx.errors import InputError

DEFAULT = "balanced"
DTYPES: Mapping[str, str] = {"bfloat16": "BF16", "float16": "F16", "float32": "F32"}
SHORT_DTYPES: Mapping[str, str] = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}
KEEP = "keep"
ROUTER_BITS = 8
EMBEDDING_BITS = 6

_KEYS = ("description", "dtype", "smaller_groups", "groups")
_GROUP_KEYS = ("bits", "group_size", "mode")


@dataclass(frozen=True)
class Recipe:
    """How each group is packed; a group that is None or absent is kept.

    ``dtype`` ("bfloat16", …) is that of what is not packed; None keeps the source's.
    """

    name: str
    description: str
    groups: Mapping[str, Quantization | None] = field(default_factory=dict)
    dtype: str | None = None
    smaller_groups: bool = True

    def __post_init__(self) -> None:
        """Raise InputError for a dtype that no checkpoint is written in."""
        if self.dtype is not None and self.dtype not in DTYPES:
            raise InputError(f"dtype {self.dtype!r} is unknown, use one of {', '.join(DTYPES)}")

    def asked(self, path: str) -> Quantization | None:
        """What the recipe says of a tensor's group, whether its width suits or not."""
        return self.groups.get(group_of(path).name)

    def quantization(
        self, path: str, shape: Sequence[int]
    ) -> tuple[Quantization | None, str | None]:
        """How a tensor of this path and shape is packed (None: kept).

        The second is a note that says why it is packed otherwise than asked; None when it is not.
        """
        asked = self.asked(path)
        if asked is None:
            return None, None
        chosen = fitted(shape[-1], asked, smaller_groups=self.smaller_groups)
        if chosen == asked:
            return chosen, None
        instead = "kept" if chosen is None else f"groups of {chosen.group_size}"
        return chosen, f"width {shape[-1]} is no multiple of {asked.divisor}: {instead}"


def plain_recipe(bits: int | None, group_size: int | None = None, mode: str = "affine") -> Recipe:
    """The decoder, the embedding and its per-layer table as asked; the rest is protected.

    But in other modes than ``affine`` the embedding, which is the output layer too, is packed
    affinely: MLX looks its rows up in bfloat16, whatever the model computes in, and their 4
    bits are too few for it.

    The router always has 8 bits: it only chooses, and a wrong choice costs a whole expert. Towers
    and projectors are kept: they are small, and low bits are heard and seen.

    Raises InputError for bits and groups that MLX cannot pack.
    """
    asked = Quantization.asked(bits, group_size, mode)
    kept = ("vision", "audio", "vision_projector", "audio_projector")
    groups = {name: None if name in kept else asked for name in NAMES}
    groups["router"] = Quantization.asked(
        ROUTER_BITS, asked.group_size if mode == "affine" else None
    )
    if mode != "affine":
        groups["embedding"] = Quantization.asked(max(asked.bits, EMBEDDING_BITS))
    name = f"{asked.bits}bit-g{asked.group_size}" if mode == "affine" else mode
    embedded = f"the embedding in {groups['embedding']}" if mode != "affine" else "embeddings too"
    return Recipe(name, f"decoder in {asked}; {embedded}", groups)


def unquantized(dtype: str | None = None) -> Recipe:
    """Nothing is packed. Raises InputError for a dtype that is unknown."""
    if dtype is None:
        return Recipe("unquantized", "nothing packed, every tensor as in the source")
    return Recipe(SHORT_DTYPES.get(dtype, dtype), f"nothing packed, {dtype} throughout", {}, dtype)


def shipped_recipes() -> dict[str, Recipe]:
    """The recipes of this package, by name."""
    folder = Path(str(files("gemma4_convert"))) / "recipes"
    return {file.stem: _read(file) for file in sorted(folder.glob("*.toml"))}


def load_recipe(name_or_path: str | Path) -> Recipe:
    """A shipped recipe by its name, or the TOML file of that path.

    Raises InputError, in one line that names the file and the key, for a file that cannot be read,
    an unknown key or group, and bits or group sizes that MLX cannot pack.
    """
    text = str(name_or_path)
    shipped = shipped_recipes()
    if text in shipped:
        return shipped[text]
    file = Path(text).expanduser()
    if not file.suffix and not file.exists():
        raise InputError(
            f"there is no recipe {text!r}: use one of {', '.join(shipped)}, or the path of a "
            "TOML file"
        )
    return _read(file)


def _read(file: Path) -> Recipe:
    try:
        raw = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"the recipe {file} cannot be read ({error.strerror}): check its path"
        ) from None
    except ValueError as error:  # of TOML and of UTF-8
        raise InputError(f"{file} is no TOML file: {' '.join(str(error).split())}") from None
    _known(file, "", raw, _KEYS)
    groups = _typed(file, raw, "groups", dict, "a table of tensor groups", {})
    _known(file, "groups.", groups, NAMES)
    try:
        return Recipe(
            name=file.stem,
            description=_typed(file, raw, "description", str, "a text", ""),
            groups={name: _group(file, name, value) for name, value in groups.items()},
            dtype=_typed(file, raw, "dtype", str, "the name of a dtype", None),
            smaller_groups=_typed(file, raw, "smaller_groups", bool, "true or false", True),
        )
    except InputError as error:
        if str(error).startswith(str(file)):
            raise
        raise InputError(f"{file}: {error}") from None


def _known(file: Path, where: str, table: Mapping[str, Any], known: Sequence[str]) -> None:
    unknown = sorted(set(table) - set(known))
    if unknown:
        kind = "group" if where == "groups." else "key"
        raise InputError(
            f"{file}: unknown {kind} {where}{unknown[0]}, expected one of {', '.join(known)}"
        )


def _typed(
    file: Path, table: Mapping[str, Any], key: str, kind: type, expected: str, default: Any
) -> Any:
    value = table.get(key, default)
    if value is not default and type(value) is not kind:
        raise InputError(f"{file}: {key} is {value!r:.60}, expected {expected}")
    return value


def _group(file: Path, name: str, raw: Any) -> Quantization | None:
    where = f"groups.{name}"
    if raw == KEEP:
        return None
    if not isinstance(raw, dict):
        raise InputError(
            f"{file}: {where} is {raw!r:.60}, expected {KEEP!r} or a table like {{ bits = 4 }}"
        )
    _known(file, f"{where}.", raw, _GROUP_KEYS)
    for key in ("bits", "group_size"):
        _typed(file, {f"{where}.{key}": raw[key]} if key in raw else {}, f"{where}.{key}", int,
               "a whole number", None)  # fmt: skip
    mode = _typed(file, {f"{where}.mode": raw.get("mode", "affine")}, f"{where}.mode", str,
                  "the name of a quantization mode", "affine")  # fmt: skip
    if "bits" not in raw and mode == "affine":
        raise InputError(f"{file}: {where} has no bits, expected for example {{ bits = 4 }}")
    try:
        return Quantization.asked(raw.get("bits"), raw.get("group_size"), mode)
    except InputError as error:
        raise InputError(f"{file}: {where}: {error}") from None
