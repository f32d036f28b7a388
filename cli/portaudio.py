"""PortAudio, which brings the sound in, and what to do when it or a device does not work."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gemma4_cli.console import _CONTROLS
from gemma4_mlx.errors import MediaError, MissingExtraError


def load_sounddevice() -> Any:
    """The sounddevice module, knowing the devices that are there now.

    Raises MissingExtraError without it, MediaError without PortAudio or when that does not start.
    """
    again = "sounddevice" in sys.modules
    try:
        import sounddevice

        if again:  # PortAudio lists devices once, and a headset may have come since
            sounddevice._terminate()
            sounddevice._initialize()
    except ImportError as error:
        if error.name != "_sounddevice_data":
            raise MissingExtraError(
                "the microphone needs the mic extra: pip install 'gemma4-mlx[mic]'"
            ) from None
        raise _no_portaudio(error) from None
    except OSError as error:
        raise _no_portaudio(error) from None
    except Exception as error:  # PortAudioError, whose class an import that failed does not give
        raise MediaError(
            f"the sound system does not start: {' '.join(str(error).split())}; see the system's "
            "sound settings"
        ) from None
    return sounddevice


def _no_portaudio(error: Exception) -> MediaError:
    return MediaError(
        f"the microphone needs the PortAudio library ({error}): brew install portaudio, or on "
        "Debian and Ubuntu apt install libportaudio2"
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Keep ALSA's and PortAudio's own messages off the screen; their errors come as exceptions."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def silent(name: str, platform: str = sys.platform) -> MediaError:
    """What to do about the device of that name, which gives nothing but zeros."""
    if platform != "darwin":
        return MediaError(
            f"the microphone ({name}) gives only silence: it is muted, or another input is meant; "
            "see the system's sound settings"
        )
    # macOS gives zeros to a program that may not listen; the permission is the terminal's.
    known = {"Apple_Terminal": "Terminal", "iTerm.app": "iTerm", "vscode": "Visual Studio Code"}
    program = os.environ.get("TERM_PROGRAM", "")
    program = known.get(program, program.translate(_CONTROLS)) or "your terminal program"
    return MediaError(
        f"the microphone ({name}) gives only silence: macOS lets {program} hear it when that is "
        "switched on in System Settings → Privacy & Security → Microphone; switch it on and start "
        f"{program} again"
    )
