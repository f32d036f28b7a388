"""Media as parts of a message, read when they are given: what is wrong with them shows at once.

A part holds its picture or recording decoded, so that a file may go or change afterwards, and where
it came from; of a video it holds the path, and its frames are chosen when the prompt is made.
The line about it has its size, its tokens and all that was cut, scaled or resampled in reading.
How many tokens a medium is comes from what the processor itself does with it.
"""

import hashlib
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gemma4_cli.chat.media.dropped import kind_of_name, read_paths
from gemma4_cli.chat.media.kind import kind_of_content
from gemma4_cli.chat.media.links import fetch_image, is_link, name_of
from gemma4_cli.console import plain
from gemma4_mlx.errors import InputError, MediaError

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from gemma4_mlx.processing.media_inputs import MediaInputs
    from gemma4_mlx.processing.messages import MediaKind
    from gemma4_mlx.processing.processor import Processor

Part = dict[str, Any]

_NAMES = {"image": "picture", "audio": "recording", "video": "video"}


def attach(
    kind: str | None, source: str | Path, processor: "Processor", budget: int | None
) -> tuple[Part, str]:
    """The part for a file or a link to a picture, and the line that says what was attached.

    ``kind`` is "image", "audio", "video", or None to be told from the content. ``budget`` is the
    most tokens of a picture, None for the model's own. Raises MediaError for what is missing,
    unreadable or not what it is given as, MissingExtraError, and InputError for what the model
    cannot see or hear.
    """
    if is_link(str(source)):
        return _attach_link(kind, str(source), processor, budget)
    path = _readable_file(str(source))
    try:
        found = kind_of_content(path)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise MediaError(f"{path} cannot be read: {error.strerror}") from None
    kind = kind or found or kind_of_name(path.name)
    if kind is None:
        raise MediaError(
            f"{path} is no picture, recording or video by its content or its name: give it with "
            "/image, /audio or /video if it is"
        )
    _refuse_another_kind(path, kind, found)
    origin = {"file": {"path": str(path), "sha256": digest}}
    notices: list[str] = []
    if kind == "image":
        from gemma4_mlx.processing.images import load_image

        _check_tower("image", path.name, processor)
        picture = load_image(path, notices)
        part, line = _picture_part(picture, path.name, processor, budget, notices, str(path))
    elif kind == "audio":
        part, line = _recording_part(path, processor, notices)
    else:
        part, line = _video_part(path, processor, notices)
    return {**part, **origin}, line


def attach_picture(
    image: "Image.Image", name: str, processor: "Processor", budget: int | None
) -> tuple[Part, str]:
    """The part for a picture that is no file, such as the clipboard's, and the line about it."""
    from gemma4_mlx.processing.images import load_image

    _check_tower("image", name, processor)
    notices: list[str] = []
    # Opened pictures carry the name of their file, under which load_image speaks of them.
    image.filename = name  # type: ignore[attr-defined]
    picture = load_image(image, notices)
    part, line = _picture_part(picture, name, processor, budget, notices, name)
    return {**part, "name": name}, line


def attach_recording(samples: "np.ndarray", name: str, processor: "Processor") -> tuple[Part, str]:
    """The part for what was spoken into the microphone, (n,) float32 at the model's rate."""
    part, line = _heard_part(samples, name, processor, [], name)
    return {**part, "name": name}, line


def _attach_link(
    kind: str | None, url: str, processor: "Processor", budget: int | None
) -> tuple[Part, str]:
    name = name_of(url)
    if kind not in (None, "image"):
        raise MediaError(
            f"{url} is a link, and only pictures are fetched: save the {_NAMES.get(kind, kind)} "
            "and give its path"
        )
    _check_tower("image", name, processor)
    notices: list[str] = []
    picture = fetch_image(url, notices)
    part, line = _picture_part(picture, name, processor, budget, notices, "the picture")
    return {**part, "name": name}, line


# --- the three kinds --------------------------------------------------------------------------


def _picture_part(
    picture: "Image.Image",
    name: str,
    processor: "Processor",
    budget: int | None,
    notices: list[str],
    about: str,
) -> tuple[Part, str]:
    media = _processed("image", picture, name, processor, budget)
    rows, columns = (
        side * processor.settings.image.patch_size for side in media.images[0].shape[:2]
    )
    part: Part = {"type": "image", "image": picture}
    if budget is not None:
        part["max_soft_tokens"] = budget
    facts = [f"{picture.width} × {picture.height}"]
    if (rows, columns) != (picture.height, picture.width):
        facts.append(f"seen at {columns} × {rows}")
    return part, _line("image", name, [*facts, _tokens("image", media)], notices, about)


def _recording_part(path: Path, processor: "Processor", notices: list[str]) -> tuple[Part, str]:
    from gemma4_mlx.processing.waveform import load_waveform, waveform_seconds

    _check_tower("audio", path.name, processor)
    seconds, rate = waveform_seconds(path), processor.sampling_rate
    longest = processor.settings.max_samples / rate
    if seconds > longest + 0.5:  # before hours of it are decoded; the rest is the processor's
        raise InputError(
            f"{path.name} is {_length(seconds)} long, the model hears {longest:g} s at once: "
            "`gemma4 transcribe` takes any length"
        )
    waveform = load_waveform(path, rate)
    notices += waveform.notices
    return _heard_part(waveform.samples, path.name, processor, notices, str(path))


def _heard_part(
    samples: "np.ndarray", name: str, processor: "Processor", notices: list[str], about: str
) -> tuple[Part, str]:
    _check_tower("audio", name, processor)
    media = _processed("audio", samples, name, processor)
    facts = [_length(len(samples) / processor.sampling_rate), _tokens("audio", media)]
    return {"type": "audio", "audio": samples}, _line("audio", name, facts, notices, about)


def _video_part(path: Path, processor: "Processor", notices: list[str]) -> tuple[Part, str]:
    from gemma4_mlx.processing.video import load_video

    _check_tower("video", path.name, processor)
    video = load_video(path, processor.settings.video.num_frames, notices)
    media = _processed("video", video.frames, path.name, processor, fps=1.0)
    count, times = len(video.frames), video.times
    seconds = count * (times[-1] - times[0]) / (count - 1) if count > 1 else 0.0
    facts = [f"{video.frames[0].width} × {video.frames[0].height}", f"{count} frames"]
    if seconds:
        facts.insert(1, _length(seconds))
    line = _line("video", path.name, [*facts, _tokens("video", media)], notices, str(path))
    return {"type": "video", "video": str(path)}, line


def _processed(
    kind: "MediaKind",
    value: Any,
    name: str,
    processor: "Processor",
    budget: int | None = None,
    fps: float | None = None,
) -> "MediaInputs":
    """What the processor makes of one medium. InputError when it is too long or too short."""
    from gemma4_mlx.processing.media_inputs import MediaInputs
    from gemma4_mlx.processing.messages import MediaPart

    media = MediaInputs(processor.settings, [], budget)
    media.add(MediaPart(kind, value, name, fps))
    return media


def _tokens(kind: str, media: "MediaInputs") -> str:
    from gemma4_mlx.processing.media_inputs import AUDIO_TOKEN, IMAGE_TOKEN, VIDEO_TOKEN

    token = {"image": IMAGE_TOKEN, "audio": AUDIO_TOKEN, "video": VIDEO_TOKEN}[kind]
    count = media.texts[token][-1].count(token)
    return f"{count:,} token{'s' if count != 1 else ''}"


def _length(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"


def _line(kind: str, name: str, facts: list[str], notices: list[str], about: str) -> str:
    """``picture cat.png: 640 × 480, seen at 912 × 672, 266 tokens; only the first of …``."""
    told = [notice.removeprefix(f"{about}: ").removeprefix("the video: ") for notice in notices]
    return plain(f"{_NAMES[kind]} {name}: " + "; ".join([", ".join(facts), *told]))


# --- checks -----------------------------------------------------------------------------------


def _readable_file(source: str) -> Path:
    """The absolute path of a file that is there; quotes, escapes and file: are taken off."""
    path = Path(source)
    try:
        path = path.expanduser()
        if not path.exists() and len(read := read_paths(source)) == 1:
            path = Path(read[0]).expanduser()
        path = path.absolute()
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise MediaError(f"{path} does not exist: check the path") from None
    except (OSError, ValueError, RuntimeError) as error:  # the last: of a user unknown here
        reason = getattr(error, "strerror", None) or str(error)
        raise MediaError(f"{source[:200]} cannot be opened: {reason}") from None
    if stat.S_ISDIR(mode):
        raise MediaError(f"{path} is a folder: give the path of one file in it")
    if not stat.S_ISREG(mode):  # reading a pipe or a device may never end
        raise MediaError(f"{path} is not a file: expected a picture, recording or video")
    return path


def _refuse_another_kind(path: Path, kind: str, found: str | None) -> None:
    """MediaError when the content is plainly something else, naming the right command.

    A video's sound may be heard alone, and a moving picture be seen as a video.
    """
    allowed = {"image": ("image",), "audio": ("audio", "video"), "video": ("video", "image")}
    if found is not None and found not in allowed.get(kind, ()):
        raise MediaError(
            f"{path} is a {_NAMES[found]}, not a {_NAMES.get(kind, kind)}: attach it with /{found}"
        )


def _check_tower(kind: str, name: str, processor: "Processor") -> None:
    config = processor.config
    if kind == "audio" and config.audio is None:
        raise InputError(
            f"{name} is a recording, but this model has no audio tower: E2B and E4B hear"
        )
    if kind != "audio" and config.vision is None:
        raise InputError(
            f"{name} is a {_NAMES[kind]}, but this model has no vision tower: use a checkpoint "
            "that was converted with it"
        )
