"""Recordings given as arrays: (n,) or (n, channels), of floats or of integers at full scale."""

from collections.abc import Iterator
from numbers import Real
from typing import Any

import numpy as np

from gemma4_mlx.errors import MediaError
from gemma4_mlx.processing.sound_tracks import Track, block_size, check_rate
from gemma4_mlx.processing.sources import as_array


def array_track(source: Any, rate: int) -> Track:
    """The sound of an array at ``rate`` Hz, or of (array, its rate)."""
    name = "the recording"
    found_rate: float = rate
    if isinstance(source, tuple):
        if len(source) != 2 or not isinstance(source[1], Real) or isinstance(source[1], bool):
            raise MediaError("a recording given as a tuple is (array, its rate in Hz)")
        source, found_rate = source[0], float(source[1])
        check_rate(found_rate, name)
    array = as_array(source, "a recording")
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or (array.shape[1] > 32 and array.size):
        raise MediaError(
            f"a recording has the shape {array.shape}; expected (samples,) or (samples, channels)"
        )
    _as_floats(array[:0])  # refuses at once what is no sound

    def decode(first: int) -> Iterator[tuple[int, np.ndarray]]:
        count = block_size(found_rate)
        for begin in range(first, len(array), count):
            yield begin, _as_floats(array[begin : begin + count])

    return Track(name, found_rate, array.shape[1], len(array), decode)


def _as_floats(array: np.ndarray) -> np.ndarray:
    if array.dtype == np.uint8:
        array = (array.astype(np.float32) - 128) / 128
    elif np.issubdtype(array.dtype, np.signedinteger):
        array = array / -float(np.iinfo(array.dtype).min)
    elif not np.issubdtype(array.dtype, np.floating):
        raise MediaError(f"a recording is {array.dtype}; expected floats from -1 to 1")
    return array.astype(np.float32)
