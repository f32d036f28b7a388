"""The tiny audio towers as fixtures."""

from typing import Any

import pytest

from gemma4_mlx.audio import AudioTower
from gemma4_mlx.config import AudioConfig
from tests.audio.tiny_towers import CONFIGS, reference_tower
from tests.vision.tower_weights import randomize


@pytest.fixture(params=sorted(CONFIGS))
def config(request: pytest.FixtureRequest) -> AudioConfig:
    """Each of the tiny configs."""
    return CONFIGS[request.param]


@pytest.fixture
def tower(config: AudioConfig) -> AudioTower:
    """A tower of that config with every tensor random."""
    tower = AudioTower(config)
    randomize(tower)
    return tower


@pytest.fixture
def reference(config: AudioConfig, tower: AudioTower) -> Any:
    """transformers' tower with the same weights."""
    return reference_tower(config, tower)
