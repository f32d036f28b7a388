"""Every kind of picture file, and what is none."""

import io
import struct
import sys
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gemma4_mlx.errors import MediaError, MissingExtraError
from gemma4_mlx.processing.images import load_image
from tests.processing import transformers_side


def noise(mode: str, size: tuple[int, int] = (50, 30)) -> Image.Image:
    bands = len(Image.new(mode, (1, 1)).getbands())
    shape = (size[1], size[0]) if bands == 1 else (size[1], size[0], bands)
    return Image.fromarray(np.random.randint(0, 256, shape, dtype=np.uint8), mode=mode)


def pixels(value: Any) -> np.ndarray:
    image = load_image(value, [])
    assert image.mode == "RGB"
    return np.asarray(image)


def saved(folder: Path, image: Image.Image, name: str, **options: Any) -> Path:
    image.save(folder / name, **options)
    return folder / name


# --- equal to the reference ----------------------------------------------------------------------


def weird_images() -> dict[str, Image.Image]:
    palette = noise("RGB").quantize(16)
    clear = noise("RGB").quantize(16)
    clear.info["transparency"] = 3
    rgb_key = noise("RGB")
    rgb_key.info["transparency"] = rgb_key.getpixel((4, 4))
    return {
        **{mode: noise(mode) for mode in ("RGB", "RGBA", "L", "LA", "CMYK", "YCbCr", "HSV")},
        "1": noise("L").convert("1"),
        "P": palette,
        "P with a transparent colour": clear,
        "PA": noise("RGBA").convert("PA"),
        "RGB with a transparent colour": rgb_key,
    }


@pytest.mark.parametrize("name", weird_images())
def test_modes_equal_the_reference(name: str) -> None:
    transformers_side.require()
    from transformers.image_transforms import convert_to_rgb

    image = weird_images()[name]
    expected = convert_to_rgb(image, return_numpy=True)
    np.testing.assert_array_equal(pixels(image), expected)


# --- files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "gif", "ppm", "webp", "tga"])
def test_lossless_files(suffix: str, tmp_path: Path) -> None:
    image = noise("RGB") if suffix != "gif" else noise("P")
    options = {"lossless": True} if suffix == "webp" else {}
    file = saved(tmp_path, image, f"a.{suffix}", **options)
    expected = np.asarray(image.convert("RGB"))
    for source in (file, str(file), file.as_uri(), file.read_bytes()):
        np.testing.assert_array_equal(pixels(source), expected)


@pytest.mark.parametrize("suffix", ["jpg", "avif"])
def test_lossy_files(suffix: str, tmp_path: Path) -> None:
    image = Image.new("RGB", (64, 48), (200, 60, 30))
    found = pixels(saved(tmp_path, image, f"a.{suffix}"))
    assert np.abs(found.astype(int) - np.asarray(image)).max() <= 4


def test_data_address() -> None:
    import base64

    buffer = io.BytesIO()
    image = noise("RGB")
    image.save(buffer, "PNG")
    text = base64.b64encode(buffer.getvalue()).decode()
    np.testing.assert_array_equal(pixels(f"data:image/png;base64,{text}"), np.asarray(image))
    with pytest.raises(MediaError, match="data: address"):
        load_image("data:image/png;base64,@@", [])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation: int, tmp_path: Path) -> None:
    upright = noise("RGB")
    undo = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    stored = upright if undo is None else upright.transpose(undo)
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = saved(tmp_path, stored, "a.png", exif=exif)
    np.testing.assert_array_equal(pixels(file), np.asarray(upright))
    np.testing.assert_array_equal(pixels(Image.open(file)), np.asarray(upright))


def test_transparency_is_laid_over_white(tmp_path: Path) -> None:
    image = Image.new("RGBA", (10, 10), (0, 0, 0, 0))
    image.putpixel((2, 3), (0, 0, 0, 255))
    found = pixels(saved(tmp_path, image, "a.png"))
    assert found[0, 0].tolist() == [255, 255, 255]
    assert found[3, 2].tolist() == [0, 0, 0]


# --- more than 8 bits ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.png", "a.tiff"])
def test_16_bit_grey_is_scaled(name: str, tmp_path: Path) -> None:
    grey = np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16)
    notices: list[str] = []
    image = load_image(saved(tmp_path, Image.fromarray(grey), name), notices)
    np.testing.assert_array_equal(np.asarray(image)[..., 0], np.arange(256).reshape(16, 16))
    assert notices == [f"{tmp_path / name}: grey from 0 to 65535 scaled to 8 bits"]


def test_16_bit_colour_png(tmp_path: Path) -> None:
    values = np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16)
    rows = np.repeat(values[..., None], 3, axis=-1).astype(">u2")
    raw = b"".join(b"\0" + row.tobytes() for row in rows)

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + crc

    header = struct.pack(">IIBBBBB", 16, 16, 16, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    png += chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    np.testing.assert_array_equal(pixels(png)[..., 1], np.arange(256).reshape(16, 16))


@pytest.mark.parametrize(
    ("grey", "expected"),
    [
        (np.float32([[0.0, 0.5, 1.0]]), [0, 128, 255]),
        (np.float32([[0.0, 100.0, 255.0]]), [0, 100, 255]),
        (np.float32([[-1.0, 0.0, 1.0]]), [0, 128, 255]),
        (np.float32([[7.0, 7.0, 7.0]]), [7, 7, 7]),
        (np.int32([[0, 257, 65535]]), [0, 1, 255]),
        (np.int32([[0, 9, 255]]), [0, 9, 255]),
        (np.int32([[-100, 0, 100]]), [0, 128, 255]),
    ],
)
def test_wide_greys(grey: np.ndarray, expected: list[int], tmp_path: Path) -> None:
    file = saved(tmp_path, Image.fromarray(grey), "a.tiff")
    assert pixels(file)[0, :, 0].tolist() == expected


def test_nan_pixels(tmp_path: Path) -> None:
    file = saved(tmp_path, Image.fromarray(np.float32([[0, np.nan]])), "a.tiff")
    with pytest.raises(MediaError, match="NaN or infinite"):
        load_image(file, [])


# --- arrays --------------------------------------------------------------------------------------


def test_arrays() -> None:
    rgb = np.random.randint(0, 256, (20, 30, 3), dtype=np.uint8)
    np.testing.assert_array_equal(pixels(rgb), rgb)
    np.testing.assert_array_equal(pixels(rgb.transpose(2, 0, 1)), rgb)
    np.testing.assert_array_equal(pixels(rgb.astype(np.int64)), rgb)
    np.testing.assert_array_equal(pixels(rgb.astype(np.float32) / 255), rgb)
    np.testing.assert_array_equal(pixels(rgb.astype(np.uint16) * 257), rgb)
    np.testing.assert_array_equal(pixels(rgb[..., 0])[..., 2], rgb[..., 0])
    np.testing.assert_array_equal(pixels(rgb[..., :1])[..., 2], rgb[..., 0])
    assert pixels(np.array([[True, False]]))[0, :, 0].tolist() == [255, 0]
    assert pixels(np.zeros((4, 4, 4), dtype=np.uint8))[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4,)),
        np.zeros((5, 4, 5)),
        np.zeros((0, 4, 3)),
        np.zeros((2, 4, 4, 3)),
        np.full((4, 4, 3), 300),
        np.full((4, 4, 3), -0.5),
        np.full((4, 4, 3), np.nan),
        np.full((4, 4, 3), "a"),
        None,
        5,
    ],
)
def test_arrays_that_are_no_pictures(array: Any) -> None:
    with pytest.raises(MediaError, match="a picture array"):
        load_image(array, [])


def test_rows_unlike_in_length() -> None:
    ragged: Any = [[1], [1, 2]]
    with pytest.raises(MediaError, match="a picture given as a list is no array of numbers"):
        load_image(ragged, [])


# --- what is no picture --------------------------------------------------------------------------


def test_missing_empty_and_foreign_files(tmp_path: Path) -> None:
    for name, content, said in (
        ("empty.png", b"", "is empty"),
        ("text.png", b"this is text, not a picture", "is not a picture"),
        ("sound.wav", b"RIFF\x24\0\0\0WAVEfmt ", "is not a picture"),
        ("film.mp4", b"\0\0\0\x20ftypisom" + bytes(40), "is not a picture"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(MediaError, match=rf"{name} {said}"):
            load_image(tmp_path / name, [])
    with pytest.raises(MediaError, match=r"none\.png does not exist"):
        load_image(str(tmp_path / "none.png"), [])
    with pytest.raises(MediaError, match="is a folder"):
        load_image(tmp_path, [])
    with pytest.raises(MediaError, match="is not downloaded: save the picture"):
        load_image("https://example.org/a.png", [])
    with pytest.raises(MediaError, match="cannot be opened"):
        load_image("a" * 5000, [])
    for odd in ("file://[", "//[::1:x"):
        with pytest.raises(MediaError, match=r"cannot be opened|does not exist"):
            load_image(odd, [])


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "webp", "tiff", "bmp", "avif"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_pictures_cut_short(suffix: str, share: float, tmp_path: Path) -> None:
    file = saved(tmp_path, noise("RGB", (120, 90)), f"a.{suffix}")
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(MediaError, match=rf"a\.{suffix} is") as caught:
        load_image(file, [])
    assert "\n" not in str(caught.value)


def test_a_decompression_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = saved(tmp_path, Image.new("L", (200, 200)), "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 30_000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # large, and still fine
        assert pixels(file).shape == (200, 200, 3)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
    with pytest.raises(MediaError, match=r"a\.png is too large a picture"):
        load_image(file, [])


def test_only_the_first_picture_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    file = tmp_path / "a.gif"
    frames[0].save(file, save_all=True, append_images=frames[1:])
    notices: list[str] = []
    image = load_image(file, notices)
    assert image.getpixel((0, 0)) == (255, 0, 0)
    assert notices == [f"{file}: only the first of 3 pictures in it is used"]


# --- HEIC ----------------------------------------------------------------------------------------


def heic(folder: Path) -> Path:
    pillow_heif = pytest.importorskip("pillow_heif", reason="the media extra is not installed")
    image = Image.new("RGB", (64, 48), (200, 60, 30))
    pillow_heif.from_pillow(image).save(folder / "a.heic")
    return folder / "a.heic"


def test_heic(tmp_path: Path) -> None:
    found = pixels(heic(tmp_path))
    assert found.shape == (48, 64, 3)
    assert np.abs(found.astype(int) - [200, 60, 30]).max() <= 6


def test_heic_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = heic(tmp_path)
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    monkeypatch.setattr(Image, "ID", [name for name in Image.ID if name != "HEIF"])
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(MissingExtraError, match=r"a\.heic is a HEIC .*gemma4-mlx\[media\]"):
        load_image(file, [])
