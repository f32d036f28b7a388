"""Pictures behind links, from a real server that answers in every wrong way too."""

import io
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image

from gemma4_cli.chat.media import links
from gemma4_cli.chat.media.links import fetch_image, name_of
from gemma4_mlx.errors import MediaError

Answer = Callable[[BaseHTTPRequestHandler], None]


def png(size: tuple[int, int] = (40, 30)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, "red").save(file, "PNG")
    return file.getvalue()


def answering(
    content: bytes, kind: str = "image/png", status: int = 200, length: int | None = None
) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(len(content) if length is None else length))
        request.end_headers()
        request.wfile.write(content)

    return answer


def leading_to(target: str) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(302)
        request.send_header("Location", target)
        request.end_headers()

    return answer


def without_end(request: BaseHTTPRequestHandler) -> None:
    """Bytes for ever, with no length said; a redirect's own body is never read."""
    request.send_response(200)
    request.end_headers()
    try:
        while True:
            request.wfile.write(bytes(1 << 20))
    except OSError:
        request.server.broken_off.set()  # type: ignore[attr-defined]


def dripping(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.end_headers()
    try:
        for _ in range(200):
            request.wfile.write(b"x")
            time.sleep(0.05)
    except OSError:
        request.server.broken_off.set()  # type: ignore[attr-defined]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, dict[str, Answer]]]:
    """Its address, and what it answers to which path."""
    answers: dict[str, Answer] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answers.get(self.path, answering(b"gone", "text/plain", 404))(self)

        def log_message(self, *_args: object) -> None:
            """The test's output stays its own."""

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.broken_off = threading.Event()  # type: ignore[attr-defined]
    thread = threading.Thread(target=lambda: httpd.serve_forever(0.02), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}", answers
    httpd.shutdown()
    thread.join()
    httpd.server_close()


Server = tuple[str, dict[str, Answer]]


def test_a_picture(server: Server) -> None:
    url, answers = server
    answers["/cat.png?size=large"] = answering(png())
    picture = fetch_image(f"{url}/cat.png?size=large#part")
    assert picture.size == (40, 30) and picture.mode == "RGB"
    assert picture.getpixel((3, 3)) == (255, 0, 0)


def test_letters_of_all_alphabets(server: Server) -> None:
    url, answers = server
    answers["/Stra%C3%9Fe%20(1).png"] = answering(png())
    assert fetch_image(f"{url}/Straße%20(1).png").size == (40, 30)
    assert name_of(f"{url}/Stra%C3%9Fe.png?x=1") == "Straße.png"
    assert name_of("https://example.org") == "example.org"


def test_what_is_left_out_is_said(server: Server) -> None:
    url, answers = server
    file = io.BytesIO()
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    answers["/a.gif"] = answering(file.getvalue(), "image/gif")
    notices: list[str] = []
    assert fetch_image(f"{url}/a.gif", notices).size == (8, 8)
    assert notices == ["the picture: only the first of 2 pictures in it is used"]


def test_redirects(server: Server) -> None:
    url, answers = server
    answers["/a"] = leading_to("/b")
    answers["/b"] = leading_to(f"{url}/c.png")
    answers["/c.png"] = answering(png())
    assert fetch_image(f"{url}/a").size == (40, 30)
    answers["/round"] = leading_to("/round")
    with pytest.raises(MediaError, match="leads on and on"):
        fetch_image(f"{url}/round")


@pytest.mark.parametrize("target", ["file:///etc/hosts", "ftp://example.org/a.png", "data:,x"])
def test_no_redirect_leaves_the_web(server: Server, target: str) -> None:
    url, answers = server
    answers["/a"] = leading_to(target)
    with pytest.raises(MediaError, match=r"leads to (file|ftp|data):.*only http and https"):
        fetch_image(f"{url}/a")


def test_404_and_other_answers(server: Server) -> None:
    url, answers = server
    with pytest.raises(MediaError, match=r"/none\.png answered 404 Not Found: check the link"):
        fetch_image(f"{url}/none.png")
    answers["/page"] = answering(b"<html>a cat</html>", "text/html")
    with pytest.raises(MediaError, match="is a web page, expected a picture"):
        fetch_image(f"{url}/page")
    answers["/text.png"] = answering(b"a cat", "image/png")
    with pytest.raises(MediaError, match=r"text\.png: .*not a picture that can be read"):
        fetch_image(f"{url}/text.png")
    answers["/empty"] = answering(b"")
    with pytest.raises(MediaError, match="answered with nothing"):
        fetch_image(f"{url}/empty")
    whole = png((400, 300))
    answers["/cut"] = answering(whole[:200], length=len(whole))
    with pytest.raises(MediaError, match=r"cut short: .* 200 came"):
        fetch_image(f"{url}/cut")


def test_three_gigabytes(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    url, answers = server
    answers["/promised"] = answering(b"", length=3 * 2**30)
    with pytest.raises(MediaError, match="larger than 32 MB"):
        fetch_image(f"{url}/promised")
    monkeypatch.setattr(links, "LARGEST", 2 * 2**20)
    answers["/endless"] = without_end
    with pytest.raises(MediaError, match="larger than 2 MB"):
        fetch_image(f"{url}/endless")


def test_a_redirect_with_gigabytes_beside_it_is_not_read(server: Server) -> None:
    url, answers = server

    def answer(request: BaseHTTPRequestHandler) -> None:
        leading_to("/c.png")(request)
        without_end_of_body(request)

    def without_end_of_body(request: BaseHTTPRequestHandler) -> None:
        try:
            while True:
                request.wfile.write(bytes(1 << 20))
        except OSError:
            request.server.broken_off.set()  # type: ignore[attr-defined]

    answers["/a"], answers["/c.png"] = answer, answering(png())
    assert fetch_image(f"{url}/a").size == (40, 30)


def test_slow_servers(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    url, answers = server
    monkeypatch.setattr(links, "PATIENCE", 0.3)
    answers["/drip"] = dripping
    begun = time.monotonic()
    with pytest.raises(MediaError, match=r"did not come within"):
        fetch_image(f"{url}/drip")
    assert time.monotonic() - begun < 3
    monkeypatch.setattr(links, "PATIENCE", 30.0)
    monkeypatch.setattr(links, "_SILENCE", 0.2)
    answers["/silent"] = lambda request: time.sleep(1)
    with pytest.raises(MediaError, match=r"did not come within"):
        fetch_image(f"{url}/silent")


def test_no_server(server: Server) -> None:
    with pytest.raises(MediaError, match=r"cannot be fetched .*check the link and the network"):
        fetch_image("http://127.0.0.1:1/a.png")
    for wrong in ("http://exa mple.org/", "http://[::1/a.png", "http://host:port/a.png", "http://"):
        with pytest.raises(MediaError, match="cannot be fetched"):
            fetch_image(wrong)


def test_a_python_that_does_not_know_the_certificates(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given: list[str | None] = []
    unknown = links.ssl.DefaultVerifyPaths(None, None, "", "", "", "")  # type: ignore[attr-defined]
    monkeypatch.setattr(links.ssl, "get_default_verify_paths", lambda: unknown)
    monkeypatch.setattr(
        links.ssl, "create_default_context", lambda cafile=None: given.append(cafile)
    )
    monkeypatch.setattr(links, "_CERTIFICATES", tmp_path / "cert.pem")
    links._trust()
    (tmp_path / "cert.pem").write_text("")
    links._trust()
    assert given == [None, str(tmp_path / "cert.pem")]
