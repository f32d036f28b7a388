"""Checkpoints that a test may spoil."""

from collections.abc import Callable
from pathlib import Path

import mlx.core as mx
import pytest

from tests import goldens
from tests.reference.checkpoints import copy_checkpoint, read_weights, write_weights

Edit = Callable[[dict[str, mx.array]], None]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a family's committed checkpoint, without the goldens beside it."""

    def copy(family: str = "e2b", name: str = "checkpoint") -> Path:
        path = copy_checkpoint(goldens.checkpoint(family), tmp_path / name)
        (path / "expected.safetensors").unlink()
        return path

    return copy


@pytest.fixture
def edited(checkpoint: Callable[[str], Path]) -> Callable[[str, Edit], Path]:
    """A copy whose tensors (by their Hugging Face names) an edit has changed."""

    def change(family: str, edit: Edit) -> Path:
        path = checkpoint(family)
        weights = read_weights(path)
        edit(weights)
        write_weights(path, weights)
        return path

    return change
