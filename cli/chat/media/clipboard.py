"""The system's clipboard: a picture out of it, text into it.

Pictures come through Pillow's ImageGrab, which asks macOS, Wayland or X11. Text goes by the
system's own program; without one, as over ssh, the terminal is asked with the control sequence
OSC 52 (xterm's "manipulate selection data"), which iTerm2, kitty, WezTerm, Ghostty and others obey.
"""

import base64
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from gemma4_mlx.errors import InputError, MediaError

if TYPE_CHECKING:
    from PIL import Image

# Terminals ignore longer sequences; some stop at 100,000 bytes.
_LONGEST_SEQUENCE = 74_994

_PATIENCE = 10.0  # seconds that a clipboard program may take


def picture_from_clipboard() -> "Image.Image":
    """The picture in the clipboard. MediaError when there is none or it cannot be asked for."""
    from PIL import Image, ImageGrab

    try:
        found = ImageGrab.grabclipboard()
        if isinstance(found, Image.Image):
            found.load()
    except NotImplementedError:
        raise MediaError(
            "the clipboard cannot be read here: install wl-paste (wl-clipboard) or xclip, or give "
            "a file with /image"
        ) from None
    except Exception as error:  # of osascript, wl-paste and xclip, and of damaged pictures
        reason = " ".join(str(error).split()) or type(error).__name__
        raise MediaError(
            f"the clipboard cannot be read ({reason}): save the picture and give it with /image"
        ) from None
    if isinstance(found, Image.Image):
        return found
    if found:
        raise MediaError(
            f"the clipboard holds {len(found)} files, expected a picture: drop them into the line"
        )
    shot = " (Control-Shift-Command-4 copies a part of the screen)"
    raise MediaError(
        "there is no picture in the clipboard: copy one first"
        + (shot if sys.platform == "darwin" else "")
    )


def copy_text(text: str) -> str:
    """Put text into the clipboard; the program, or "the terminal", that took it.

    InputError when there is neither, or the text is longer than terminals take.
    """
    data = text.encode("utf-8", "replace")
    for command in _programs():
        if _run(command, data):
            return command[0]
    stream = next((s for s in (sys.stdout, sys.stderr) if s is not None and s.isatty()), None)
    if stream is None or os.environ.get("TERM") == "dumb":
        raise InputError(
            "there is no clipboard: install wl-copy (wl-clipboard), xclip or xsel, or use /export"
        )
    sequence = f"\x1b]52;c;{base64.b64encode(data).decode('ascii')}\x07"
    if len(sequence) > _LONGEST_SEQUENCE:
        raise InputError(
            f"{len(data):,} bytes are more than a terminal puts into the clipboard (about "
            f"{_LONGEST_SEQUENCE * 3 // 4:,}): install wl-copy, xclip or xsel, or use /export"
        )
    stream.write(sequence)
    stream.flush()
    return "the terminal"


def _programs() -> list[list[str]]:
    """The programs that fit this system and are installed."""
    commands = []
    if sys.platform == "darwin":
        commands.append(["pbcopy"])
    if os.environ.get("WAYLAND_DISPLAY"):
        commands.append(["wl-copy"])
    if os.environ.get("DISPLAY"):
        commands += [["xclip", "-selection", "clipboard"], ["xsel", "--clipboard", "--input"]]
    return [command for command in commands if shutil.which(command[0])]


def _run(command: list[str], data: bytes) -> bool:
    """Whether the program took the text; it may stay in the background to hand it out."""
    surroundings = dict(os.environ)
    if command[0] == "pbcopy":
        surroundings["LC_ALL"] = "en_US.UTF-8"  # without a locale it takes text for Mac Roman
    try:
        done = subprocess.run(
            command,
            input=data,
            stdout=subprocess.DEVNULL,  # a pipe would stay open with the program
            stderr=subprocess.DEVNULL,
            env=surroundings,
            timeout=_PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
