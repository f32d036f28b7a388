"""A picture behind a link: fetched with bounds on size and time, never written to disk.

A link is typed or pasted by the user and nothing else is fetched. Redirects are followed within
http and https alone, what comes is read up to a limit, and Pillow judges whether it is a picture.
"""

import http.client
import queue
import ssl
import string
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urljoin, urlsplit, urlunsplit

from gemma4_mlx import __version__
from gemma4_mlx.errors import Gemma4Error, MediaError

if TYPE_CHECKING:
    from PIL import Image

LARGEST = 32 * 2**20  # bytes
PATIENCE = 30.0  # seconds for all of it
_SILENCE = 10.0  # seconds without a byte
_PIECE = 64 * 1024
_MOST_REDIRECTS = 5

# Where macOS and many Linux systems keep certificates, whatever Python was built to look for.
_CERTIFICATES = Path("/etc/ssl/cert.pem")

_HEADERS = {
    "User-Agent": f"gemma4-mlx/{__version__} (https://pypi.org/project/gemma4-mlx)",
    "Accept": "image/*",
}


def is_link(source: str) -> bool:
    """Whether this is the address of something on the web."""
    return source.lower().startswith(("http://", "https://"))


def name_of(url: str) -> str:
    """The last part of a link's path, else the machine's name: what to call the picture.

    >>> name_of("https://example.org/a/red%20cat.png?width=640")
    'red cat.png'
    """
    try:
        parts = urlsplit(url)
        return PurePosixPath(unquote(parts.path)).name or parts.hostname or url
    except ValueError:
        return url


def fetch_image(url: str, notices: list[str] | None = None) -> "Image.Image":
    """The picture at a link, 8-bit RGB; ``notices`` gets a line for what was left out of it.

    Raises MediaError, naming the link, for an answer other than a picture, one larger than
    ``LARGEST`` (reading stops there), and one that is not whole after ``PATIENCE`` seconds;
    MissingExtraError for HEIC without the ``media`` extra.
    """
    from gemma4_mlx.processing.images import load_image

    content, content_type = _fetch_in_time(url)
    try:
        return load_image(content, [] if notices is None else notices)
    except MediaError as error:
        if content_type == "text/html":
            raise MediaError(
                f"{url} is a web page, expected a picture: open it, and copy the address of the "
                "picture itself"
            ) from None
        raise MediaError(f"{url}: {error}") from None
    except Gemma4Error as error:
        raise type(error)(f"{url}: {error}") from None


def _fetch_in_time(url: str) -> tuple[bytes, str]:
    """In a thread of its own: a search for a machine's name knows no time limit, nor Ctrl-C."""
    answers: queue.Queue[tuple[bytes, str] | Exception] = queue.Queue()
    given_up = threading.Event()

    def work() -> None:
        try:
            answers.put(_fetch(url, given_up))
        except Exception as error:  # told where it is waited for
            answers.put(error)

    threading.Thread(target=work, daemon=True).start()
    try:
        answer = answers.get(timeout=PATIENCE)
    except queue.Empty:
        raise MediaError(_too_slow(url, PATIENCE)) from None
    finally:
        given_up.set()
    if isinstance(answer, Exception):
        raise _as_media_error(url, answer) from None
    return answer


def _fetch(url: str, given_up: threading.Event) -> tuple[bytes, str]:
    deadline = time.monotonic() + PATIENCE
    with _follow(url) as response:
        length = response.headers.get("Content-Length", "")
        promised = int(length) if length.isdecimal() else None
        content = b""
        if promised is None or promised <= LARGEST:
            content = _read(response, given_up, deadline)
        if max(promised or 0, len(content)) > LARGEST:
            raise MediaError(
                f"{url} is larger than {LARGEST // 2**20} MB, the most that is fetched: save a "
                "smaller copy and give its path"
            )
        if promised is not None and len(content) < promised:
            raise MediaError(
                f"{url} was cut short: {promised} bytes promised, {len(content)} came; try again"
            )
        if not content:
            raise MediaError(f"{url} answered with nothing, expected a picture: check the link")
        return content, response.headers.get_content_type()


def _follow(url: str) -> Any:
    """The answer at the end of all redirects, none of which may leave the web.

    urllib's own handler reads what comes with a redirect to its end, were it gigabytes.
    """
    opener, target = _opener(), url
    for _ in range(_MOST_REDIRECTS + 1):
        request = urllib.request.Request(_in_ascii(target), headers=_HEADERS)
        try:
            return opener.open(request, timeout=_SILENCE)
        except urllib.error.HTTPError as error:
            with error:
                location = error.headers.get("Location")
                if error.code not in (301, 302, 303, 307, 308) or not location:
                    raise
            # http.client decodes headers as Latin-1, servers write UTF-8 into them.
            location = location.encode("latin-1", "replace").decode("utf-8", "replace")
            target = urljoin(request.full_url, location)
        if not is_link(target):
            raise MediaError(f"{url} leads to {target}: only http and https are followed")
    raise MediaError(f"{url} leads on and on, {_MOST_REDIRECTS} times so far: check the link")


def _read(response: Any, given_up: threading.Event, deadline: float) -> bytes:
    """What comes, up to one piece over the limit."""
    content = bytearray()
    while len(content) <= LARGEST:
        piece = response.read1(_PIECE)
        if not piece:
            break
        content += piece
        if given_up.is_set() or time.monotonic() > deadline:
            raise TimeoutError
    return bytes(content)


def _opener() -> urllib.request.OpenerDirector:
    """Handlers for the web alone: none for file, ftp and data, none that follows redirects."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(context=_trust()),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


def _trust() -> ssl.SSLContext:
    """The system's certificates, also for a Python that was built without knowing where."""
    found = ssl.get_default_verify_paths()
    known = found.cafile or found.capath
    return ssl.create_default_context(
        cafile=None if known or not _CERTIFICATES.exists() else str(_CERTIFICATES)
    )


def _in_ascii(url: str) -> str:
    """An address as it goes over the wire: a browser shows it with letters of all alphabets."""
    parts = urlsplit(url)
    host = (parts.hostname or "").encode("idna").decode("ascii")
    if ":" in host:
        host = f"[{host}]"
    if parts.port is not None:
        host = f"{host}:{parts.port}"
    keep = string.punctuation
    return urlunsplit((parts.scheme, host, quote(parts.path, keep), quote(parts.query, keep), ""))


def _as_media_error(url: str, error: Exception) -> Exception:
    if isinstance(error, Gemma4Error):
        return error
    if isinstance(error, urllib.error.HTTPError):
        return MediaError(f"{url} answered {error.code} {error.reason}: check the link")
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, TimeoutError):
        return MediaError(_too_slow(url, _SILENCE))
    if isinstance(reason, http.client.HTTPException | OSError | ValueError | str):
        told = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
        return MediaError(f"{url} cannot be fetched ({told}): check the link and the network")
    return error


def _too_slow(url: str, seconds: float) -> str:
    return f"{url} did not come within {seconds:g} s: try again, or save it and give its path"
