"""What every test runs under: offline, no user settings, the same random numbers each time."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# Set before anything imports a library that reads them.
os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", NO_COLOR="1", COLUMNS="100")


@pytest.fixture(autouse=True)
def clean_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's choice of model must not reach a test."""
    monkeypatch.delenv("GEMMA4_MODEL", raising=False)


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
