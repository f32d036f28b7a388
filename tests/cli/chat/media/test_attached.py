"""Media as parts of a message: what is said of them, and what cannot be attached."""

import hashlib
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from gemma4_cli.chat.media.attached import attach, attach_picture
from gemma4_cli.chat.media.kind import kind_of_content
from gemma4_mlx.errors import InputError, MediaError, MissingExtraError
from gemma4_mlx.processing.processor import Processor
from tests.generation.tiny_model import picture, tiny_model
from tests.generation.tiny_tokenizer import tiny_tokenizer
from tests.processing.test_video import film

TOKENIZER = tiny_tokenizer()


@pytest.fixture(scope="module")
def processor() -> Processor:
    return tiny_model("e2b", TOKENIZER)[1]


def recording(path: Path, seconds: float = 1.0, rate: int = 16_000, channels: int = 1) -> Path:
    shape = (int(seconds * rate), channels)
    soundfile.write(path, np.random.default_rng(1).normal(0, 0.1, shape), rate)
    return path


def tokens_in_prompt(processor: Processor, part: dict[str, object]) -> int:
    """What the processor itself makes of the part."""
    inputs = processor([{"role": "user", "content": [part]}])
    return int((np.array(inputs["mm_token_type_ids"]) > 0).sum())


def test_a_picture(tmp_path: Path, processor: Processor) -> None:
    path = picture(tmp_path / "cat.png", size=(640, 480))
    part, line = attach("image", path, processor, None)
    assert line == "picture cat.png: 640 × 480, seen at 912 × 672, 266 tokens"
    assert part["file"] == {
        "path": path,
        "sha256": hashlib.sha256(Path(path).read_bytes()).hexdigest(),
    }
    assert part["type"] == "image" and part["image"].size == (640, 480)
    assert tokens_in_prompt(processor, part) == 266
    assert "max_soft_tokens" not in part


def test_a_budget_is_of_the_picture(tmp_path: Path, processor: Processor) -> None:
    path = picture(tmp_path / "cat.png", size=(640, 480))
    part, line = attach(None, path, processor, 70)
    assert part["max_soft_tokens"] == 70
    told = int(line.rsplit(", ", 1)[1].split()[0])
    assert told <= 70 and tokens_in_prompt(processor, part) == told


def test_what_is_left_out_of_a_picture(tmp_path: Path, processor: Processor) -> None:
    path = tmp_path / "moving.gif"
    frames = [Image.new("RGB", (48, 48), colour) for colour in ("red", "blue", "green")]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    line = attach(None, path, processor, None)[1]
    assert line.endswith("tokens; only the first of 3 pictures in it is used")


def test_a_recording(tmp_path: Path, processor: Processor) -> None:
    path = recording(tmp_path / "memo.wav", 12.34, 44_100, 2)
    part, line = attach("audio", path, processor, None)
    count = tokens_in_prompt(processor, part)
    assert line == (
        f"recording memo.wav: 12.3 s, {count} tokens; 2 channels mixed down to one; "
        "resampled from 44100 Hz to 16000 Hz"
    )
    assert part["audio"].dtype == np.float32 and part["audio"].ndim == 1
    assert part["file"]["path"] == str(path)


def test_a_recording_too_long_or_short(tmp_path: Path, processor: Processor) -> None:
    with pytest.raises(InputError, match=r"long\.flac is 2 min 1 s long, .* 30 s .*transcribe"):
        attach(None, recording(tmp_path / "long.flac", 121), processor, None)
    with pytest.raises(InputError, match=r"edge\.wav: the recording is 30\.20 s long"):
        attach(None, recording(tmp_path / "edge.wav", 30.2), processor, None)
    with pytest.raises(InputError, match="too short to hear"):
        attach(None, recording(tmp_path / "click.wav", 0.005), processor, None)


def test_a_video(tmp_path: Path, processor: Processor) -> None:
    path = film(tmp_path, 48, "clip.mp4")
    part, line = attach(None, path, processor, 1120)
    count = tokens_in_prompt(processor, part)
    assert part["type"] == "video" and part["file"]["path"] == str(path)
    assert line.startswith("video clip.mp4: ") and f" 32 frames, {count:,} tokens" in line
    assert "32 of its 48 frames are used" in line


def test_the_kind_is_that_of_the_content(tmp_path: Path, processor: Processor) -> None:
    path = Path(picture(tmp_path / "cat.png"))
    path.rename(tmp_path / "cat.mp3")
    assert attach(None, tmp_path / "cat.mp3", processor, None)[0]["type"] == "image"
    recording(tmp_path / "memo.wav").rename(tmp_path / "memo.jpg")
    assert attach(None, tmp_path / "memo.jpg", processor, None)[0]["type"] == "audio"
    film(tmp_path, 3, "clip.mp4").rename(tmp_path / "clip.m4a")
    assert attach(None, tmp_path / "clip.m4a", processor, None)[0]["type"] == "video"


@pytest.mark.parametrize(
    ("suffix", "kind"),
    [
        *[(suffix, "image") for suffix in ("png", "jpg", "webp", "gif", "tiff", "bmp")],
        *[(suffix, "audio") for suffix in ("wav", "flac", "ogg", "mp3", "aiff", "caf", "au")],
    ],
)
def test_kinds_by_content(tmp_path: Path, suffix: str, kind: str) -> None:
    path = tmp_path / f"a.{suffix}"
    if kind == "image":
        Image.new("RGB", (8, 8)).save(path)
    else:
        recording(path)
    nameless = path.rename(tmp_path / "nameless")
    assert kind_of_content(nameless) == kind


def test_containers_by_their_tracks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import av

    for suffix, codec in (("mp4", "aac"), ("mkv", "pcm_s16le")):
        path = tmp_path / f"sound.{suffix}"
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=16_000)
            frame = av.AudioFrame.from_ndarray(
                np.zeros((1, 4096), dtype=np.int16), format="s16", layout="mono"
            )
            frame.sample_rate = 16_000
            for packet in [*stream.encode(frame), *stream.encode(None)]:
                container.mux(packet)
        assert kind_of_content(path) == "audio"
    video = film(tmp_path, 3, "clip.mp4")
    assert kind_of_content(video) == "video"
    monkeypatch.setitem(sys.modules, "av", None)
    assert kind_of_content(path) == "video", "without PyAV the name decides"


def test_text_is_of_no_kind(tmp_path: Path, processor: Processor) -> None:
    text = tmp_path / "BMW and FORMs.txt"
    text.write_text("BMW is not a picture, and FORM no sound")
    assert kind_of_content(text) is None
    with pytest.raises(MediaError, match="is no picture, recording or video"):
        attach(None, text, processor, None)


@pytest.mark.parametrize("name", ["cat.png", "memo.wav", "memo.mp3", "memo.m4a", "clip.mov"])
def test_a_file_that_is_not_what_its_name_says(
    tmp_path: Path, processor: Processor, name: str
) -> None:
    path = tmp_path / name
    path.write_text("I am a text. " * 100)
    with pytest.raises(MediaError, match=name.replace(".", r"\.") + " is not a ") as told:
        attach(None, path, processor, None)
    assert "\n" not in str(told.value)


def test_the_right_command_is_named(tmp_path: Path, processor: Processor) -> None:
    cat, memo = picture(tmp_path / "cat.png"), recording(tmp_path / "memo.wav")
    clip = film(tmp_path, 3, "clip.mp4")
    with pytest.raises(MediaError, match=r"is a picture, not a recording: attach it with /image"):
        attach("audio", cat, processor, None)
    with pytest.raises(MediaError, match=r"is a recording, not a picture: attach it with /audio"):
        attach("image", memo, processor, None)
    with pytest.raises(MediaError, match=r"is a video, not a picture: attach it with /video"):
        attach("image", clip, processor, None)
    with pytest.raises(MediaError, match="has no sound track"):
        attach("audio", clip, processor, None)


def test_paths_that_cannot_be_read(
    tmp_path: Path, processor: Processor, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    (tmp_path / "empty.png").touch()
    for source, reason in (
        ("none.png", r"none\.png does not exist: check the path"),
        (".", "is a folder"),
        ("pipe.png", "is not a file: expected"),
        ("loop.png", "cannot be opened: .*symbolic links"),
        ("empty.png", r"empty\.png is empty"),
        ("nul\0l.png", "cannot be opened"),
        ("x" * 300, "cannot be opened: File name too long"),
    ):
        with pytest.raises(MediaError, match=reason):
            attach(None, str(tmp_path / source), processor, None)

    cat = picture(tmp_path / "cat.png")

    def refuse(*_args: object) -> None:
        raise PermissionError(13, "Permission denied", cat)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(MediaError, match=r"cat\.png cannot be read: Permission denied"):
        attach("image", cat, processor, None)


def test_paths_as_pasted_after_a_command(
    tmp_path: Path, processor: Processor, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = picture(tmp_path / "my cat.png")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for written in (path.replace(" ", "\\ "), f"'{path}'", "~/my cat.png", "my cat.png"):
        assert attach("image", written, processor, None)[0]["file"]["path"] == path
    assert attach("image", Path(path).as_uri(), processor, None)[0]["file"]["path"] == path


def test_heic(tmp_path: Path, processor: Processor, monkeypatch: pytest.MonkeyPatch) -> None:
    import pillow_heif

    path = tmp_path / "photo.HEIC"
    pillow_heif.from_pillow(Image.new("RGB", (64, 48), "red")).save(path)
    assert attach(None, path, processor, None)[1].startswith("picture photo.HEIC: 64 × 48, ")

    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    monkeypatch.setattr(Image, "ID", [name for name in Image.ID if name != "HEIF"])
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(MissingExtraError, match=r"photo\.HEIC .*gemma4-mlx\[media\]") as told:
        attach(None, path, processor, None)
    assert "\n" not in str(told.value)


def test_a_model_without_the_tower(tmp_path: Path) -> None:
    deaf = tiny_model("31b", TOKENIZER)[1]
    with pytest.raises(InputError, match=r"memo\.wav .* no audio tower: E2B and E4B hear"):
        attach(None, recording(tmp_path / "memo.wav"), deaf, None)


def test_a_picture_that_is_no_file(processor: Processor) -> None:
    part, line = attach_picture(Image.new("RGBA", (96, 48)), "clipboard", processor, None)
    assert line.startswith("picture clipboard: 96 × 48, seen at ")
    assert part["name"] == "clipboard" and "file" not in part
    assert part["image"].mode == "RGB"
    assert f", {tokens_in_prompt(processor, part)} tokens" in line


def test_a_link(processor: Processor, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(url: str, notices: list[str]) -> Image.Image:
        notices.append("the picture: only the first of 2 pictures in it is used")
        return Image.new("RGB", (96, 48))

    monkeypatch.setattr("gemma4_cli.chat.media.attached.fetch_image", fetch)
    part, line = attach(None, "https://example.org/a%20cat.gif?x", processor, None)
    assert part["name"] == "a cat.gif" and "file" not in part
    assert line.startswith("picture a cat.gif: 96 × 48, ")
    assert line.endswith("; only the first of 2 pictures in it is used")
    with pytest.raises(MediaError, match="only pictures are fetched: save the recording"):
        attach("audio", "https://example.org/a.mp3", processor, None)


def test_a_name_cannot_control_the_terminal(tmp_path: Path, processor: Processor) -> None:
    path = picture(tmp_path / "a\x1b[2Jb\nc.png")
    line = attach(None, path, processor, None)[1]
    assert line.startswith("picture a[2Jb c.png: ")
