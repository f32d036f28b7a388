"""The tiny vision towers and pictures as fixtures."""

from typing import Any

import pytest

from gemma4_mlx.config import VisionConfig
from gemma4_mlx.vision import VisionTower
from tests.vision.tiny_towers import CONFIGS, MakePictures, Pictures, make_pictures, reference_tower
from tests.vision.tower_weights import randomize


@pytest.fixture(params=sorted(CONFIGS))
def config(request: pytest.FixtureRequest) -> VisionConfig:
    """Each of the tiny configs."""
    return CONFIGS[request.param]


@pytest.fixture
def tower(config: VisionConfig) -> VisionTower:
    """A tower of that config with every tensor random."""
    tower = VisionTower(config)
    randomize(tower)
    return tower


@pytest.fixture
def reference(config: VisionConfig, tower: VisionTower) -> Any:
    """transformers' tower with the same weights."""
    return reference_tower(config, tower)


@pytest.fixture
def pictures(config: VisionConfig) -> MakePictures:
    """``pictures([(W, H), …], length)``: random patches of grids in cells, padded to ``length``."""

    def make(grids: list[tuple[int, int]], length: int, seed: int = 0) -> Pictures:
        return make_pictures(config, grids, length, seed)

    return make
