"""Opening pictures: any file Pillow reads, upright, as 8-bit RGB.

What is done beyond decoding: the EXIF orientation is applied; transparency is laid over white;
16-bit, 32-bit and floating-point greys are scaled to 8 bits rather than clipped; HEIC comes with
the ``media`` extra. Colour profiles are not applied.

Source: transformers' ``convert_to_rgb`` in ``image_transforms``, whose pixels an 8-bit picture
equals. Deviations: its loader of paths drops alpha and shows what lay under it, which turns black
drawings on a transparent ground into black squares; and its greys above 8 bits are clipped.
"""

import os
import warnings
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from gemma4_mlx.errors import MediaError, MissingExtraError
from gemma4_mlx.processing.sources import Source, as_array, find_source

_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"heif"}


def load_image(
    value: str | os.PathLike[str] | bytes | Image.Image | np.ndarray, notices: list[str]
) -> Image.Image:
    """Read a picture as 8-bit RGB.

    An array is (H, W), (H, W, 1 | 3 | 4) or channels first, uint8, uint16 or float in [0, 1].
    ``notices`` gets a line for what was left out or scaled. Raises MediaError, and
    MissingExtraError for HEIC without the ``media`` extra.
    """
    if isinstance(value, Image.Image):
        name = str(getattr(value, "filename", "") or "the picture")
        return _decode(value, name, notices)
    if isinstance(value, str | os.PathLike | bytes):
        source = find_source(value, "picture")
        with source.open() as file, _open(file, source) as image:
            return _decode(image, source.name, notices)
    return _from_array(as_array(value, "a picture"))


def _open(file: BinaryIO, source: Source) -> Image.Image:
    try:
        with warnings.catch_warnings():
            # Between one and two times Pillow's limit of pixels it warns; beyond it raises.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return Image.open(file)
    except Image.DecompressionBombError as error:
        raise MediaError(f"{source.name} is too large a picture: {error}") from None
    except UnidentifiedImageError:
        head = source.head()
        if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS and _register_heif(source.name):
            file.seek(0)
            return _open(file, source)
        raise MediaError(
            f"{source.name} is not a picture that can be read; expected PNG, JPEG, WebP, GIF, "
            "TIFF, BMP or HEIC"
        ) from None
    except Exception as error:  # decoders meet damaged headers with nearly anything
        raise MediaError(f"{source.name} is a damaged picture: {error}") from None


def _register_heif(name: str) -> bool:
    """Teach Pillow HEIC; False when it knows it already and still cannot read the file."""
    if "HEIF" in Image.OPEN:
        return False
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        raise MissingExtraError(
            f"{name} is a HEIC picture, which needs an extra: pip install 'gemma4-mlx[media]'"
        ) from None
    register_heif_opener()
    return True


def _decode(image: Image.Image, name: str, notices: list[str]) -> Image.Image:
    if 0 in image.size:
        raise MediaError(f"{name} has {image.width}x{image.height} pixels: there is nothing to see")
    try:
        frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
        image.load()
        upright = ImageOps.exif_transpose(image)
        rgb = _to_rgb(upright, name, notices)
    except MediaError:
        raise
    except Exception as error:  # truncated and damaged files raise nearly anything
        raise MediaError(f"{name} is damaged or cut short: {error}") from None
    if frames > 1:
        notices.append(f"{name}: only the first of {frames} pictures in it is used")
    return rgb


def _to_rgb(image: Image.Image, name: str, notices: list[str]) -> Image.Image:
    if image.mode == "F" or image.mode.startswith("I"):
        image = _to_8_bits(image, name, notices)
    if "A" in image.getbands() or "a" in image.getbands() or "transparency" in image.info:
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return image.convert("RGB")


def _to_8_bits(image: Image.Image, name: str, notices: list[str]) -> Image.Image:
    """Greys of 16 bits, 32 bits and floating point, brought to 0–255."""
    grey = np.asarray(image)
    low, high = float(grey.min()), float(grey.max())
    if not np.isfinite([low, high]).all():
        raise MediaError(f"{name} has pixels that are NaN or infinite")
    if image.mode.startswith("I;16"):
        span = (0.0, 65535.0)
    elif image.mode == "F" and low >= 0 and high <= 1:
        span = (0.0, 1.0)
    elif low >= 0 and high <= 255:
        span = (0.0, 255.0)
    elif image.mode == "I" and low >= 0 and high <= 65535:
        span = (0.0, 65535.0)
    else:
        span = (low, high)
    if span != (0.0, 255.0):
        notices.append(f"{name}: grey from {span[0]:g} to {span[1]:g} scaled to 8 bits")
    scaled = (grey.astype(np.float64) - span[0]) * 255 / (span[1] - span[0] or 1)
    return Image.fromarray(np.rint(scaled).astype(np.uint8))


def _from_array(array: np.ndarray[Any, Any]) -> Image.Image:
    shape = array.shape
    if array.ndim == 3 and shape[-1] not in (1, 3, 4) and shape[0] in (1, 3, 4):
        array = np.moveaxis(array, 0, -1)
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    fits = array.ndim == 2 or (array.ndim == 3 and array.shape[-1] in (3, 4))
    if array.size == 0 or not fits or array.dtype.kind not in "buif":
        raise MediaError(
            f"a picture array has shape {shape} of {array.dtype}; "
            "expected (H, W), (H, W, 3) or (H, W, 4) of numbers"
        )
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    elif array.dtype == np.uint16:
        array = np.rint(array / 257).astype(np.uint8)
    elif np.issubdtype(array.dtype, np.floating) and array.min() >= 0 and array.max() <= 1:
        array = np.rint(array.astype(np.float64) * 255).astype(np.uint8)
    elif array.dtype != np.uint8 and not (
        np.issubdtype(array.dtype, np.integer) and array.min() >= 0 and array.max() <= 255
    ):
        raise MediaError(
            f"a picture array is {array.dtype} from {array.min()} to {array.max()}; "
            "expected uint8, or floats from 0 to 1"
        )
    return _to_rgb(Image.fromarray(np.ascontiguousarray(array.astype(np.uint8))), "", [])
