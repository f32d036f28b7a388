"""A hub cache in a temporary folder, laid out as huggingface_hub does it."""

import hashlib
import json
from pathlib import Path
from typing import Any

MAIN = "c" * 40


class HubCache:
    """``folder`` is what $HF_HUB_CACHE would name."""

    def __init__(self, folder: Path):
        self.folder = folder

    def repository(self, hub_id: str) -> Path:
        return self.folder / f"models--{hub_id.replace('/', '--')}"

    def add(
        self, hub_id: str, files: dict[str, bytes], commit: str = MAIN, *, main: bool = True
    ) -> Path:
        """A revision with these files: blobs, links to them, and the ref. Returns the snapshot."""
        repository = self.repository(hub_id)
        snapshot = repository / "snapshots" / commit
        for folder in (repository / "blobs", repository / "refs", snapshot):
            folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            blob = repository / "blobs" / hashlib.sha256(content).hexdigest()
            blob.write_bytes(content)
            (snapshot / name).symlink_to(Path("..", "..", "blobs", blob.name))
        if main:
            (repository / "refs" / "main").write_text(commit)
        return snapshot

    def add_model(
        self, hub_id: str, config: dict[str, Any], *, weights: int = 1000, **files: bytes
    ) -> Path:
        """A whole checkpoint with this config.json and so many bytes of weights."""
        parts = {
            "config.json": json.dumps(config).encode(),
            "tokenizer.json": b"{}",
            "model.safetensors": bytes(weights),
        }
        return self.add(hub_id, parts | files)
