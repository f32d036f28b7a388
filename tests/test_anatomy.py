"""Every tensor's shape, and the published sizes, from config.json alone."""

import subprocess
import sys

import mlx.core as mx
import pytest
from mlx.utils import tree_flatten

from gemma4_mlx.anatomy import COMPONENTS, anatomy, component_of
from gemma4_mlx.config import Gemma4Config
from gemma4_mlx.errors import CheckpointError
from gemma4_mlx.loading.rename import PLE_TABLE, in_our_layout, module_path
from gemma4_mlx.model import Gemma4Model
from gemma4_mlx.released import RELEASED, released_config
from gemma4_mlx.tensor_shapes import borrowed_shapes, tensor_shapes
from tests import goldens
from tests.reference.families import raw_config

FAMILIES = ("e2b", "e4b", "26b", "31b")

# Parameters that the hub counts in Google's files, and rows of them.
PUBLISHED = {
    "e2b": {
        "total": 5_123_178_051,
        "embedding": 402_653_184,
        "ple_table": 2_348_810_240,
        "vision": 167_365_056,
        "audio": 304_825_088,
    },
    "e4b": {
        "total": 7_996_156_490,
        "embedding": 671_088_640,
        "ple_table": 2_818_572_288,
        "vision": 167_365_056,
        "audio": 304_825_088,
    },
    "26b": {"total": 25_805_936_206, "embedding": 738_197_504, "vision": 569_550_384},
    "31b": {"total": 31_273_088_876, "embedding": 1_409_286_144, "vision": 569_550_384},
}
# What transformers 5.23 makes of these configs, the output layer (tied) left out: parameters of
# the language model and of everything, and tensors, where it keeps gate and up as one.
TRANSFORMERS = {
    "e2b": (4_628_569_379, 5_104_298_467, 1951),
    "e4b": (7_463_013_418, 7_941_101_802, 2076),
    "26b": (25_233_141_790, 25_805_936_206, 1013),
    "31b": (30_697_345_340, 31_273_088_876, 1188),
}


def config_of(name: str) -> Gemma4Config:
    return Gemma4Config.from_dict(released_config(name))


def shapes_of(model: Gemma4Model) -> dict[str, tuple[int, ...]]:
    """Of the parameters, none of which is evaluated; the table is no parameter."""
    return {path: tuple(array.shape) for path, array in tree_flatten(model.parameters())}


@pytest.mark.parametrize("name", RELEASED)
def test_published_totals(name: str) -> None:
    counted = anatomy(config_of(name))
    found = {"total": counted.total, **counted.components}
    assert {key: found[key] for key in PUBLISHED[name]} == PUBLISHED[name]
    assert ("ple_table" in found, "audio" in found) == (name in ("e2b", "e4b"),) * 2


@pytest.mark.parametrize(
    ("name", "total", "decoder", "effective", "active"),
    [
        ("e2b", 5.1, 4.6, 2.3, None),
        ("e4b", 8.0, 7.5, 4.6, None),
        ("26b", 25.8, 25.2, None, 3.8),
        ("31b", 31.3, 30.7, None, None),
    ],
)
def test_published_billions(
    name: str, total: float, decoder: float, effective: float | None, active: float | None
) -> None:
    counted = anatomy(config_of(name))
    found = (counted.total, counted.decoder, counted.effective, counted.active)
    billions = tuple(None if count is None else round(count / 1e9, 1) for count in found)
    assert billions == (total, decoder, effective, active)


def test_the_table_is_46_percent_of_e2b() -> None:
    counted = anatomy(config_of("e2b"))
    table = counted.components["ple_table"]
    assert round(table / 1e9, 2) == 2.35
    assert round(100 * table / counted.total) == 46


@pytest.mark.parametrize("name", RELEASED)
def test_as_transformers_counts(name: str) -> None:
    config = config_of(name)
    counted = anatomy(config, borrowed=False)
    # gate and up apart: one tensor more in each layer with experts
    tensors = len(tensor_shapes(config)) - (30 if name == "26b" else 0)
    everything = counted.total + counted.clip_bounds
    assert (counted.decoder, everything, tensors) == TRANSFORMERS[name]


def test_borrowed_tensors_are_those_of_the_files() -> None:
    """60 tensors on E2B, 54 on E4B, none on the others."""
    assert [len(borrowed_shapes(config_of(name))) for name in RELEASED] == [60, 54, 0, 0]
    shapes = borrowed_shapes(config_of("e2b"))
    base = "language_model.layers"
    assert shapes[f"{base}.15.self_attn.k_proj.weight"] == (256, 1536)
    assert shapes[f"{base}.34.self_attn.v_proj.weight"] == (512, 1536)
    assert shapes[f"{base}.34.self_attn.k_norm.weight"] == (512,)


@pytest.mark.parametrize("name", RELEASED)
def test_shapes_are_those_of_the_released_models(name: str) -> None:
    config = config_of(name)
    mx.reset_peak_memory()
    built = shapes_of(Gemma4Model(config))
    assert mx.get_peak_memory() - mx.get_active_memory() < 2**20, "a weight was made"
    expected = tensor_shapes(config)
    table = expected.pop(f"{PLE_TABLE}.weight", None)
    text = config.text
    if text.hidden_size_per_layer_input:
        width = text.num_hidden_layers * text.hidden_size_per_layer_input
        assert table == (text.vocab_size_per_layer_input, width)
    assert expected == built


@pytest.mark.parametrize("family", FAMILIES)
def test_shapes_are_those_of_the_files(family: str) -> None:
    config = Gemma4Config.from_dict(raw_config(family))
    found: dict[str, tuple[int, ...]] = {}
    weights = mx.load(str(goldens.checkpoint(family) / "model.safetensors"))
    assert isinstance(weights, dict)
    for name, tensor in weights.items():
        ours = in_our_layout(module_path(name), tensor)
        found |= {path: tuple(array.shape) for path, array in ours.items()}
    for path, shape in borrowed_shapes(config).items():
        assert found.pop(path, shape) == shape
    assert tensor_shapes(config) == found


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("without", [("vision_config",), ("vision_config", "audio_config")])
def test_models_without_towers(family: str, without: tuple[str, ...]) -> None:
    config = Gemma4Config.from_dict(raw_config(family) | dict.fromkeys(without))
    expected = tensor_shapes(config)
    expected.pop(f"{PLE_TABLE}.weight", None)
    assert expected == shapes_of(Gemma4Model(config))


def test_every_component_is_somewhere() -> None:
    paths = {path for name in RELEASED for path in tensor_shapes(config_of(name))}
    assert {component_of(path) for path in paths} == set(COMPONENTS)
    base = "language_model.layers.3"
    assert component_of(f"{base}.per_layer_projection.weight") == "ple_projections"
    assert component_of(f"{base}.post_per_layer_input_norm.weight") == "ple_projections"
    assert component_of(f"{base}.self_attn.q_norm.weight") == "attention"
    assert component_of(f"{base}.layer_scalar") == "norms"


def test_nothing_heavy_is_needed() -> None:
    code = (
        "import sys; from gemma4_mlx.anatomy import anatomy;"
        "from gemma4_mlx.config import Gemma4Config;"
        "from gemma4_mlx.released import released_config;"
        "print(anatomy(Gemma4Config.from_dict(released_config('31b'))).total,"
        " 'mlx' in sys.modules, 'numpy' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["31273088876", "False", "False"]


def test_a_released_config_that_there_is_not() -> None:
    with pytest.raises(CheckpointError, match=r"'12b'.*e2b, e4b, 26b, 31b"):
        released_config("12b")
