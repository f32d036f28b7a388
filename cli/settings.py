"""What the user has settled for good: the model that runs when none is named.

One small TOML file, ``$XDG_CONFIG_HOME/gemma4/settings.toml``, by default in ``~/.config``. Lines
that someone wrote into it by hand are kept.
"""

import json
import os
import re
from pathlib import Path

from gemma4_cli.files import write_whole
from gemma4_mlx.errors import InputError

_MODEL_LINE = re.compile(r"^[ \t]*(?:model|\"model\"|'model')[ \t]*=.*\n?", re.MULTILINE)
_TABLE = re.compile(r"^[ \t]*\[", re.MULTILINE)  # what follows belongs to it


def settings_file() -> Path:
    """Where the settings are, whether or not there are any."""
    return _folder("XDG_CONFIG_HOME", "~/.config") / "settings.toml"


def state_folder() -> Path:
    """Where chats are kept, and the history of their lines: ``$XDG_STATE_HOME/gemma4``."""
    return _folder("XDG_STATE_HOME", "~/.local/state")


def _folder(variable: str, usual: str) -> Path:
    given = os.environ.get(variable, "")
    folder = Path(given) if Path(given).is_absolute() else Path(usual).expanduser()
    return folder / "gemma4"


def chosen_model() -> str | None:
    """The model chosen with ``gemma4 use``; None when none is.

    Raises InputError, naming the file, when it cannot be understood.
    """
    return _model(_read(), settings_file())


def choose_for_good(name: str) -> None:
    """Make a model the default. InputError when the file holds what cannot be kept."""
    file = settings_file()
    text = _read()
    _model(text, file)
    written = f"model = {_quoted(name)}\n{_without_model(text)}"
    if _model(written, file) != name:
        raise _damaged(file, "its entry for model goes over several lines")
    write_whole(file.resolve(), written)  # it may be a link into somebody's dotfiles


def clear_choice() -> bool:
    """Forget the chosen model, and the whole file when it is damaged; whether there was one."""
    file = settings_file()
    try:
        text = _read()
        there = _model(text, file) is not None
        rest = _without_model(text)
        damaged = _model(rest, file) is not None
    except InputError:
        there = damaged = True
    if damaged or (there and not rest.strip()):
        file.unlink(missing_ok=True)
    elif there:
        write_whole(file.resolve(), rest)
    return there


def _without_model(text: str) -> str:
    table = _TABLE.search(text)
    end = table.start() if table else len(text)
    return _MODEL_LINE.sub("", text[:end]) + text[end:]


def _read() -> str:
    file = settings_file()
    try:
        return file.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise _damaged(file, getattr(error, "strerror", None) or str(error)) from None


def _model(text: str, file: Path) -> str | None:
    import tomllib

    try:
        model = tomllib.loads(text).get("model")
    except tomllib.TOMLDecodeError as error:
        raise _damaged(file, str(error)) from None
    if model is not None and (not isinstance(model, str) or not model):
        raise _damaged(file, f"model is {model!r:.60}, expected a name in quotes")
    return model


def _damaged(file: Path, reason: str) -> InputError:
    return InputError(
        f"{file} cannot be read as settings ({reason}): mend it, or start anew with "
        "`gemma4 use --clear`"
    )


def _quoted(text: str) -> str:
    """A TOML string: JSON's escapes are TOML's, but for DEL, which JSON leaves as it is."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise InputError(
            f"{text!r} is not in UTF-8, which the settings are: rename the folder"
        ) from None
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")
