"""What a tool returned, as text for the model, of a length that a context can hold.

Text stays as it is, for the chat template quotes it; other JSON data become JSON text. JSON data
are dicts, lists, tuples, text, numbers, true, false and None. Anything else (a date, a set, an
object of a class) is refused: ``str()`` of it may be an address in memory, or lose what mattered,
and only the tool's author knows what was meant.
"""

import json
import re
from typing import Any, NoReturn

from gemma4_mlx.errors import InputError

_SURROGATE = re.compile("[\ud800-\udfff]")


def result_text(value: Any, longest: int) -> tuple[str, str | None]:
    """The text of a result, and what was cut of it, or None.

    More than ``longest`` characters are cut, and stand with a line that says so in JSON,
    ``{"cut": …, "result": …}``. InputError for what is not JSON data.
    """
    text = _whole_characters(value) if isinstance(value, str) else _dump(value)
    if len(text) <= longest:
        return text, None
    cut = f"the first {longest:,} of {len(text):,} characters"
    return _dump({"cut": cut, "result": text[:longest]}), cut


def _whole_characters(text: str) -> str:
    """Half a character, as file names may hold, becomes U+FFFD: the model's text is UTF-8."""
    return _SURROGATE.sub("\ufffd", str.__str__(text))


def _dump(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, default=_refuse)
    except (TypeError, ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"the result is not JSON data ({error}); expected text, finite numbers, true, false, "
            "None, and lists and dicts of them"
        ) from None
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # half a character, as file names may hold: written as \udc80
        return json.dumps(value, allow_nan=False, default=_refuse)
    return text


def _refuse(value: Any) -> NoReturn:
    raise InputError(
        f"the result holds a {type(value).__name__}, which is not JSON data; expected text, "
        "numbers, true, false, None, and lists and dicts of them"
    )
