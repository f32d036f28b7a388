"""A hub of one repository on this machine: its API, its files, and the ways a download breaks.

Serves what huggingface_hub asks for: the model's listing, its tree, and files by byte ranges.
"""

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

HUB_ID = "someone/gemma-4-tiny"


@dataclass
class Hub:
    """``files`` by name; those in ``large`` are stored by their checksum, as the hub does.

    ``breaks`` lists, for the next downloads of a large file, after how many bytes the connection
    is cut; after ``stalls`` bytes of one, nothing more comes. ``asked`` holds the name and the
    first byte of every download.
    """

    files: dict[str, bytes]
    commit: str = "a" * 40
    large: tuple[str, ...] = (".safetensors", "tokenizer.json")
    breaks: list[int] = field(default_factory=list)
    stalls: int | None = None
    damaged: bool = False
    asked: list[tuple[str, int]] = field(default_factory=list)
    address: str = ""

    def is_large(self, name: str) -> bool:
        return name.endswith(self.large)

    def sha256(self, name: str) -> str:
        return hashlib.sha256(self.files[name]).hexdigest()

    def etag(self, name: str) -> str:
        if self.is_large(name):
            return self.sha256(name)
        return hashlib.sha1(self.files[name]).hexdigest()

    def starts(self, name: str) -> list[int]:
        """From which byte on a file was asked for, each time."""
        return [start for asked, start in self.asked if asked == name]


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """The hub as a server of this process."""
    stopped = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_args: object) -> None:
            """Quiet."""

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, body: bool) -> None:
            path = unquote(urlsplit(self.path).path)
            _, _, resolved = path.partition(f"/{HUB_ID}/resolve/")
            if path.startswith(f"/api/models/{HUB_ID}/tree/"):
                self.json([self.entry(name) for name in hub.files], body)
            elif path in (
                f"/api/models/{HUB_ID}",
                f"/api/models/{HUB_ID}/revision/main",
                f"/api/models/{HUB_ID}/revision/{hub.commit}",
            ):
                self.json(self.listing(), body)
            elif resolved and (name := resolved.partition("/")[2]) in hub.files:
                self.file(name, body)
            else:
                self.send_response(404)
                self.send_header("X-Error-Code", "RepoNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()

        def entry(self, name: str) -> dict[str, object]:
            size = len(hub.files[name])
            entry: dict[str, object] = {"type": "file", "path": name, "size": size}
            entry["oid"] = hashlib.sha1(hub.files[name]).hexdigest()
            if hub.is_large(name):
                entry["lfs"] = {"oid": hub.sha256(name), "size": size, "pointerSize": 130}
            return entry

        def listing(self) -> dict[str, object]:
            siblings = []
            for name, content in hub.files.items():
                file: dict[str, object] = {"rfilename": name, "size": len(content)}
                file["blobId"] = hashlib.sha1(content).hexdigest()
                if hub.is_large(name):
                    file["lfs"] = {
                        "sha256": hub.sha256(name),
                        "size": len(content),
                        "pointerSize": 130,
                    }
                siblings.append(file)
            return {"id": HUB_ID, "modelId": HUB_ID, "sha": hub.commit, "siblings": siblings}

        def json(self, document: object, body: bool) -> None:
            content = json.dumps(document).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body:
                self.wfile.write(content)

        def file(self, name: str, body: bool) -> None:
            content = hub.files[name]
            start = int((self.headers.get("Range") or "bytes=0-")[len("bytes=") :].split("-")[0])
            self.send_response(206 if start else 200)
            if start:
                self.send_header(
                    "Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}"
                )
            self.send_header("X-Repo-Commit", hub.commit)
            self.send_header("ETag", f'"{hub.etag(name)}"')
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            if not body:
                return
            hub.asked.append((name, start))
            rest = content[start:]
            if hub.damaged and hub.is_large(name):
                rest = bytes(255 - byte for byte in rest)
            if hub.is_large(name) and hub.breaks:
                self.wfile.write(rest[: hub.breaks.pop(0)])
                self.close_connection = True
            elif hub.is_large(name) and hub.stalls is not None:
                self.wfile.write(rest[: hub.stalls])
                self.wfile.flush()
                while not stopped.is_set():
                    time.sleep(0.02)
            else:
                self.wfile.write(rest)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        stopped.set()
        server.shutdown()
        server.server_close()
