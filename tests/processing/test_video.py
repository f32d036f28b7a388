from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gemma4_mlx.errors import MediaError, MissingExtraError
from gemma4_mlx.processing.video import load_video, sample_indices, timestamp
from tests.processing import transformers_side

WITH_AV = "PyAV is not installed (the media extra)"


def frames(count: int) -> np.ndarray:
    """Grey frames, each a little lighter than the one before."""
    grey = np.linspace(20, 230, count).astype(np.uint8)
    return np.broadcast_to(grey[:, None, None, None], (count, 48, 64, 3)).copy()


def film(folder: Path, count: int, name: str = "a.mp4", fps: int = 10, sound: bool = False) -> Path:
    av = pytest.importorskip("av", reason=WITH_AV)
    file = folder / name
    codec = "mpeg4" if name.endswith(("mp4", "mov", "avi")) else "libvpx-vp9"
    with av.open(str(file), "w") as out:
        stream = out.add_stream(codec, rate=fps, width=64, height=48, pix_fmt="yuv420p")
        track = out.add_stream("aac", rate=16_000, layout="mono") if sound else None
        for array in frames(count):
            for packet in stream.encode(av.VideoFrame.from_ndarray(array, format="rgb24")):
                out.mux(packet)
        for packet in stream.encode(None):
            out.mux(packet)
        if track is not None:
            silence = np.zeros((1, 16_000), dtype=np.float32)
            heard = av.AudioFrame.from_ndarray(silence, format="fltp", layout="mono")
            heard.rate = 16_000
            for chunk in (heard, None):
                for packet in track.encode(chunk):
                    out.mux(packet)
    return file


def greys(images: list[Image.Image]) -> list[float]:
    return [float(np.asarray(image).mean()) for image in images]


# --- sampling ------------------------------------------------------------------------------------


def test_indices_equal_the_reference() -> None:
    transformers_side.require()
    from transformers.video_utils import VideoMetadata, default_sample_indices_fn

    for total in [*range(32, 200), 1799, 100_003]:
        expected = default_sample_indices_fn(VideoMetadata(total, fps=24.0), num_frames=32)
        assert sample_indices(total, 32) == expected.tolist()


def test_short_videos_are_used_whole() -> None:
    assert sample_indices(5, 32) == [0, 1, 2, 3, 4]
    assert sample_indices(1, 32) == [0]


def test_timestamps() -> None:
    assert [timestamp(s) for s in (0, 59.99, 60, 754.2, 6000)] == [
        "00:00",
        "00:59",
        "01:00",
        "12:34",
        "100:00",
    ]


# --- files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.avi", "a.mkv", "a.webm"])
def test_files(name: str, tmp_path: Path) -> None:
    notices: list[str] = []
    file = film(tmp_path, 80, name)
    video = load_video(file, 32, notices)
    wanted = sample_indices(80, 32)
    assert video.times == pytest.approx([index / 10 for index in wanted])
    assert all(image.size == (64, 48) and image.mode == "RGB" for image in video.frames)
    assert greys(video.frames) == pytest.approx(frames(80)[wanted, 0, 0, 0], abs=6)
    assert notices == [f"{file}: 32 of its 80 frames are used"]
    assert greys(load_video(file.read_bytes(), 32, []).frames) == greys(video.frames)


def test_frames_equal_the_reference(tmp_path: Path) -> None:
    transformers_side.require()
    from transformers.video_utils import default_sample_indices_fn, read_video_pyav

    file = film(tmp_path, 77, fps=25)
    expected, metadata = read_video_pyav(
        str(file), lambda metadata: default_sample_indices_fn(metadata, num_frames=32)
    )
    video = load_video(file, 32, [])
    np.testing.assert_array_equal(np.stack([np.asarray(f) for f in video.frames]), expected)
    assert video.times == metadata.timestamps


def test_a_short_file_is_used_whole(tmp_path: Path) -> None:
    notices: list[str] = []
    assert len(load_video(film(tmp_path, 7), 32, notices).frames) == 7
    assert notices == []


def test_unheard_sound_is_told(tmp_path: Path) -> None:
    notices: list[str] = []
    load_video(film(tmp_path, 7, sound=True), 32, notices)
    assert any("its sound is not heard" in notice for notice in notices)


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_upright_videos(turn: int, tmp_path: Path) -> None:
    """A telephone's matrix: -90 means that the stored picture is to be turned clockwise."""
    from gemma4_mlx.processing import video

    class Frame:
        rotation = turn - 360 if turn > 180 else turn

        def to_ndarray(self, **_: Any) -> np.ndarray:
            array = np.zeros((20, 30, 3), dtype=np.uint8)
            array[0, 0] = 255  # top left
            return array

    class Container:
        def decode(self, _: Any) -> list[Frame]:
            return [Frame()]

    (image,) = video._decode(Container(), None, [0])
    assert image.size == ((30, 20) if turn == 180 else (20, 30))
    corner = {90: (0, image.height - 1), 180: (image.width - 1, 19), 270: (image.width - 1, 0)}
    assert image.getpixel(corner[turn]) == (255, 255, 255)


# --- lists ---------------------------------------------------------------------------------------


def test_sequences_of_frames(tmp_path: Path) -> None:
    array = frames(6)
    pictures = [Image.fromarray(frame) for frame in array]
    paths = []
    for index, picture in enumerate(pictures):
        picture.save(tmp_path / f"{index}.png")
        paths.append(tmp_path / f"{index}.png")
    for source in (array, list(array), pictures, paths, array.transpose(0, 3, 1, 2)):
        notices: list[str] = []
        video = load_video(source, 32, notices)
        np.testing.assert_array_equal(np.stack([np.asarray(f) for f in video.frames]), array)
        assert video.times == pytest.approx([i / 24 for i in range(6)])
        assert notices == ["the video: 24 frames per second assumed"]
    assert load_video(array, 32, [], fps=2.0).times == [0, 0.5, 1, 1.5, 2, 2.5]


def test_long_sequences_are_sampled() -> None:
    notices: list[str] = []
    video = load_video(frames(100), 32, notices, fps=4.0)
    assert video.times == [i / 4 for i in sample_indices(100, 32)]
    assert notices == ["the video: 32 of its 100 frames are used"]


def test_sequences_that_are_no_videos() -> None:
    with pytest.raises(MediaError, match="has no frames"):
        load_video([], 32, [])
    with pytest.raises(MediaError, match="different sizes"):
        load_video([np.zeros((9, 9, 3), np.uint8), np.zeros((9, 8, 3), np.uint8)], 32, [])
    with pytest.raises(MediaError, match="fps of a video is 0"):
        load_video(frames(2), 32, [], fps=0)
    for array in (np.zeros((48, 48, 3), np.uint8), np.zeros((48, 48)), np.array(5)):
        with pytest.raises(MediaError, match=r"video array has shape .* expected \(frames, H"):
            load_video(array, 32, [])
    for odd in (5, None):
        with pytest.raises(MediaError, match="expected a path or a list of frames"):
            load_video(odd, 32, [])  # type: ignore[arg-type]


# --- what is no video ----------------------------------------------------------------------------


def test_missing_empty_and_foreign_files(tmp_path: Path) -> None:
    pytest.importorskip("av", reason=WITH_AV)
    for name, content, said in (
        ("empty.mp4", b"", "is empty"),
        ("text.mp4", b"this is text, not a video\n" * 40, "is not a video|has no pictures"),
        ("noise.mp4", np.random.bytes(5000), "is not a video|has no"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(MediaError, match=rf"{name} ({said})") as caught:
            load_video(tmp_path / name, 32, [])
        assert "\n" not in str(caught.value)
    with pytest.raises(MediaError, match=r"none\.mp4 does not exist; give the path of a video"):
        load_video(tmp_path / "none.mp4", 32, [])


def test_sound_is_no_video(tmp_path: Path) -> None:
    pytest.importorskip("av", reason=WITH_AV)
    sf = pytest.importorskip("soundfile")
    sf.write(tmp_path / "a.wav", np.zeros(9000), 16_000)
    with pytest.raises(MediaError, match=r"a\.wav has no pictures in it"):
        load_video(tmp_path / "a.wav", 32, [])


@pytest.mark.parametrize("name", ["a.mp4", "a.avi"])
@pytest.mark.parametrize("share", [0.2, 0.6])
def test_videos_cut_short(name: str, share: float, tmp_path: Path) -> None:
    file = film(tmp_path, 80, name)
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(MediaError, match=r"a\.(mp4|avi) is (not a video|damaged or cut short)"):
        load_video(file, 32, [])


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    (tmp_path / "a.mp4").write_bytes(b"\0\0\0\x20ftypisom" + bytes(40))
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"a\.mp4: video .*gemma4-mlx\[media\]"):
        load_video(tmp_path / "a.mp4", 32, [])
