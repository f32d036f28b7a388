"""A comparison takes the memory of a layer, not of a model."""

from pathlib import Path

import mlx.core as mx
import pytest

from gemma4_convert.convert import convert
from gemma4_convert.report import measure
from gemma4_convert.report.variants import load_variants
from tests.convert.report.models import every_group, sample, write_random
from tests.reference import families

MEGABYTE = 1e6


def peak(folder: Path, family: str, layers: int) -> float:
    """What MLX holds at most, in MB, over a comparison of a model with so many layers."""
    pattern = families.raw_config(family)["text_config"]["layer_types"][:2] * (layers // 2)
    pattern[-1] = "full_attention"
    raw = families.raw_config(
        family,
        hidden_size=256,
        intermediate_size=1024,
        num_hidden_layers=layers,
        layer_types=pattern,
    )
    source = write_random(folder / f"{family}-{layers}", raw)
    convert(source, folder / f"{family}-{layers}-4bit", recipe=every_group(4))
    mx.clear_cache()
    before = mx.get_active_memory()
    mx.reset_peak_memory()
    measure(load_variants(source, folder / f"{family}-{layers}-4bit"), [sample(family, "text")])
    return (mx.get_peak_memory() - before) / MEGABYTE


@pytest.mark.slow
@pytest.mark.parametrize("family", ["31b", "26b"])
def test_memory_does_not_grow_with_the_layers(family: str, tmp_path: Path) -> None:
    few, many = peak(tmp_path, family, 4), peak(tmp_path, family, 16)
    layer = 3 * 256 * 1024 * 4 / MEGABYTE  # the MLP alone, in float32
    assert few > layer
    assert many < few + layer  # twelve more of them would be 38 MB
