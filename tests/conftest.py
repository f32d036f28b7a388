"""What every test runs under: offline, no user settings, the same random numbers each time."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.hub_cache import HubCache

# Who starts tests in the background has them, and every program they start, ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Set before anything imports a library that reads them.
os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", NO_COLOR="1", COLUMNS="100")


@pytest.fixture(autouse=True)
def clean_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The user's choice of model must not reach a test, nor a test the user's settings."""
    monkeypatch.delenv("GEMMA4_MODEL", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    """Seed mlx and numpy, so that a failure is the same failure the next time."""
    import mlx.core as mx
    import numpy as np

    mx.random.seed(20260402)
    np.random.seed(20260402)
    yield


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "HubCache":
    """An empty hub cache that everything in this process uses."""
    from tests.hub_cache import HubCache

    folder = tmp_path / "hub"
    folder.mkdir()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder))
    return HubCache(folder)
