"""Pictures and recordings as files that are exact to the bit, named after what is in them.

The name is the SHA-256 of the pixels or samples, not of the file: the same content has the same
name whatever wrote it, so that it is written once, and a file that was changed no longer fits its
name.
Pictures are RGB in PNG, recordings mono float32 in WAV.
"""

import hashlib
import re
import weakref
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = {"image": ".png", "audio": ".wav"}
NAME = re.compile(r"[0-9a-f]{64}\.(png|wav)")

_RATE = 16_000  # Hz, of every recording that the model hears

# Names by the id of what they were made for, since a large picture takes a third of a second.
_names: "dict[int, tuple[weakref.ref[Any], str]]" = {}


def kept_name(kind: str, value: Any) -> str | None:
    """The name to keep a medium under; None for what is no picture and no recording."""
    known = _names.get(id(value))
    if known is not None and known[0]() is value:
        return known[1]
    digest = _digest(kind, value)
    if digest is None:
        return None
    name = digest + SUFFIXES[kind]
    forget = partial(_forget, id(value))
    _names[id(value)] = weakref.ref(value, forget), name
    return name


def write_kept(kind: str, value: Any, file: BinaryIO) -> None:
    """Write a medium that has a name."""
    if kind == "image":
        from PIL import Image

        # The pixels alone: what else a picture carries, such as where it was taken, stays out.
        picture = _rgb(value)
        plain = Image.frombytes("RGB", picture.size, picture.tobytes())
        plain.save(file, format="PNG", compress_level=1)
    else:
        import soundfile

        # As it is: a float's bits pass through WAV unchanged, beyond full scale too.
        soundfile.write(file, value, _RATE, format="WAV", subtype="FLOAT")


def read_kept(kind: str, file: Path) -> Any:
    """The picture or the samples; None when they are not what the file's name says.

    Raises OSError, and MediaError for a picture that is damaged.
    """
    if kind == "image":
        value: Any = _rgb(file)
    else:
        import soundfile

        try:
            with file.open("rb") as raw:
                value, _ = soundfile.read(raw, dtype="float32")
        except soundfile.LibsndfileError:
            return None
    return value if kept_name(kind, value) == file.name else None


def _digest(kind: str, value: Any) -> str | None:
    import numpy as np
    from PIL import Image

    if kind == "image" and isinstance(value, Image.Image):
        picture = _rgb(value)
        size = f"{picture.width} {picture.height} ".encode()
        return hashlib.sha256(size + picture.tobytes()).hexdigest()
    if kind == "audio" and isinstance(value, np.ndarray):
        is_mono = value.ndim == 1 and value.dtype == np.float32
        return hashlib.sha256(value.astype("<f4").tobytes()).hexdigest() if is_mono else None
    return None


def _rgb(value: "Image.Image | Path") -> "Image.Image":
    from gemma4_mlx.processing.images import load_image

    return load_image(value, [])


def _forget(key: int, _gone: Any) -> None:
    _names.pop(key, None)
