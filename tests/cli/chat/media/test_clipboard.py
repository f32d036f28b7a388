"""The clipboard: pictures out of it, text into it."""

import base64
import io
import os
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageGrab

from gemma4_cli.chat.media.clipboard import copy_text, picture_from_clipboard
from gemma4_mlx.errors import InputError, MediaError


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def no_desktop(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No display, and only the programs that a test puts into this folder."""
    for variable in ("WAYLAND_DISPLAY", "DISPLAY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("TERM", "xterm")
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def program(folder: Path, name: str, script: str) -> None:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


def test_a_picture(no_desktop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As from an X11 desktop whose xclip gives what was copied."""
    Image.new("RGB", (5, 4), "blue").save(tmp_path / "copied.png")
    program(no_desktop, "xclip", f"/bin/cat '{tmp_path}/copied.png'")
    monkeypatch.setenv("DISPLAY", ":0")
    picture = picture_from_clipboard()
    assert picture.size == (5, 4) and picture.convert("RGB").getpixel((0, 0)) == (0, 0, 255)


def test_no_picture(no_desktop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MediaError, match=r"install wl-paste .* or xclip, or give a file"):
        picture_from_clipboard()
    monkeypatch.setenv("DISPLAY", ":0")
    program(no_desktop, "xclip", "echo 'Error: target image/png not available' >&2; exit 1")
    with pytest.raises(MediaError, match=r"there is no picture in the clipboard: copy one first$"):
        picture_from_clipboard()
    program(no_desktop, "xclip", 'echo "Error: Can\'t open display: :0" >&2; exit 1')
    with pytest.raises(MediaError, match=r"cannot be read \(xclip error: .*open display"):
        picture_from_clipboard()
    program(no_desktop, "xclip", "echo no picture")
    with pytest.raises(MediaError, match="the clipboard cannot be read"):
        picture_from_clipboard()


def test_a_mac_is_told_how(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageGrab, "grabclipboard", lambda: None)
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(MediaError, match="Control-Shift-Command-4"):
        picture_from_clipboard()


def test_text_goes_to_the_program_there_is(
    no_desktop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = tmp_path / "copied"
    for name, variable in (
        ("xsel", "DISPLAY"),
        ("xclip", "DISPLAY"),
        ("wl-copy", "WAYLAND_DISPLAY"),
    ):
        monkeypatch.setenv(variable, ":0")
        program(no_desktop, name, f"/bin/cat > '{copied}'; echo \"$LC_ALL\" \"$@\" >> '{copied}'")
        assert copy_text(f"Grüße {name}") == name
        assert copied.read_text().startswith(f"Grüße {name}")
    monkeypatch.setattr(sys, "platform", "darwin")
    program(no_desktop, "pbcopy", f"/bin/cat > '{copied}'; echo \"$LC_ALL\" >> '{copied}'")
    assert copy_text("é") == "pbcopy"
    assert copied.read_text() == "éen_US.UTF-8\n"


def test_a_program_that_fails_is_passed_over(
    no_desktop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    program(no_desktop, "xclip", "exit 1")
    program(no_desktop, "xsel", "exec /bin/cat > /dev/null")
    assert copy_text("x") == "xsel"


def test_a_program_that_stays_is_not_waited_for(
    no_desktop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As xclip does, which hands the text out from the background."""
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr("gemma4_cli.chat.media.clipboard._PATIENCE", 5.0)
    program(no_desktop, "xclip", "/bin/cat > /dev/null; /bin/sleep 20 & exit 0")
    assert copy_text("x") == "xclip"


def test_the_terminal_is_asked_last(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    assert copy_text("Grüße\x1b\n") == "the terminal"
    sequence = screen.getvalue()
    assert sequence.startswith("\x1b]52;c;") and sequence.endswith("\x07")
    assert base64.b64decode(sequence[7:-1]).decode() == "Grüße\x1b\n"
    with pytest.raises(InputError, match="more than a terminal puts into the clipboard"):
        copy_text("x" * 100_000)


def test_no_clipboard_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"there is no clipboard: install .* or use /export"):
        copy_text("x")
    monkeypatch.setattr(sys, "stdout", Screen())
    monkeypatch.setitem(os.environ, "TERM", "dumb")
    with pytest.raises(InputError, match="there is no clipboard"):
        copy_text("x")
