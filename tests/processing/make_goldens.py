"""Write ``data/media_goldens.npz``: what transformers makes of seeded random media.

    python -m tests.processing.make_goldens

Pictures and clips come from ``numpy.random.RandomState``, whose streams never change, so that the
file holds answers only. Of the patches it holds every 97th.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.processing import tiny, transformers_side

FILE = Path(__file__).parent / "data" / "media_goldens.npz"
STEP = 97


def pictures() -> list[Image.Image]:
    """Three pictures of odd shapes."""
    random = np.random.RandomState(7)
    sizes = [(60, 91), (200, 31), (48, 48)]
    return [Image.fromarray(random.randint(0, 256, (*s, 3)).astype(np.uint8)) for s in sizes]


def clips() -> list[np.ndarray]:
    """Three recordings of unequal length at 16 kHz."""
    random = np.random.RandomState(8)
    return [random.uniform(-0.5, 0.5, n).astype(np.float32) for n in (5_001, 161, 9_600)]


def messages() -> list[dict[str, Any]]:
    """A conversation with all of them."""
    (a, b, c), (x, y, z) = pictures(), clips()
    return [
        {"role": "system", "content": "the system  prompt"},
        {
            "role": "user",
            "content": [
                {"type": "image", "image": a},
                {"type": "text", "text": " the user asks:"},
                {"type": "audio", "audio": x},
                {"type": "audio", "audio": y},
                {"type": "image", "image": b},
            ],
        },
        {"role": "assistant", "content": "<|channel>thought\nhm<channel|>the answer"},
        {
            "role": "user",
            "content": [
                {"type": "audio", "audio": z},
                {"type": "image", "image": c},
                {"type": "text", "text": "And now?\n\nÉtrange 🚀"},
            ],
        },
    ]


def thinned(inputs: dict[str, Any]) -> dict[str, np.ndarray]:
    """The arrays as the file holds them."""
    arrays = {name: np.asarray(array) for name, array in inputs.items()}
    arrays["pixel_values"] = arrays["pixel_values"][:, ::STEP]
    return arrays


def main() -> None:
    """Run the reference and write the file."""
    with tempfile.TemporaryDirectory() as folder:
        reference = transformers_side.processor(tiny.write_checkpoint(Path(folder)))
        arrays = thinned(transformers_side.inputs(reference, messages()))
    for name, array in arrays.items():
        if array.dtype == np.int64:
            arrays[name] = array.astype(np.int32)
    np.savez_compressed(FILE, **arrays)  # type: ignore[arg-type]
    print(f"{FILE}: {FILE.stat().st_size} bytes, {sorted(arrays)}")


if __name__ == "__main__":
    main()
