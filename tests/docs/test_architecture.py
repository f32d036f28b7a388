"""ARCHITECTURE.md: its files exist, nothing of the library is missing, its shapes are real."""

import re
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from PIL import Image

from tests.docs import files, journeys
from tests.docs.pages import ROOT

PAGE = journeys.PAGE.read_text(encoding="utf-8")
LINKS = set(re.findall(r"\]\(([^)#:]+)\)", PAGE))


def test_the_tables_are_what_the_code_says() -> None:
    assert journeys.text() == PAGE, "run `make docs`"


def test_the_list_of_files_is_complete() -> None:
    assert files.PAGE.read_text(encoding="utf-8") == files.text(), "run `make docs`"


def test_every_file_it_names_is_there() -> None:
    named = LINKS | set(re.findall(r"`((?:gemma4_mlx|cli|convert|tests|notebooks)/[\w./]*)`", PAGE))
    assert len(named) > 80
    assert not [name for name in sorted(named) if not (ROOT / name).exists()]


def test_every_module_of_the_library_is_reachable() -> None:
    """By its own link, or by one to a folder that holds it."""
    linked = {(ROOT / link).resolve() for link in LINKS}
    library = ROOT / "gemma4_mlx"
    lost = [
        str(file.relative_to(ROOT))
        for file in library.rglob("*.py")
        if file.name != "__init__.py"
        and not linked & {file, *(folder for folder in file.parents if folder != library)}
    ]
    # Known by what uses it: helpers of a folder whose ideas are linked one by one.
    helpers = {
        "gemma4_mlx/generation/arguments.py",
        "gemma4_mlx/generation/benchmark.py",
        "gemma4_mlx/generation/collate.py",
        "gemma4_mlx/generation/media.py",
        "gemma4_mlx/generation/prompt.py",
        "gemma4_mlx/generation/stats.py",
        "gemma4_mlx/generation/stream.py",
        "gemma4_mlx/generation/text_stream.py",
    }
    listed = files.text()
    assert set(lost) <= helpers
    assert all(f"(../{name})" in listed for name in helpers)


def test_an_idea_has_a_file_and_a_test() -> None:
    table = PAGE.partition("| idea |")[2].partition("\n\n")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]
    assert len(rows) > 30
    for row in rows:
        assert "](" in row[1], row[0]
        assert "](tests/" in row[2], row[0]


def given(steps: list[journeys.Step]) -> list[str]:
    return [out for _, _, out in steps]


def shape(array: Any) -> str:
    return journeys.shape(*array.shape)


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """The demo model, and the journeys told of it instead of E2B."""
    from gemma4_mlx import load

    model, processor = load("demo")
    monkeypatch.setattr(journeys, "E2B", model.config)
    return model, processor


def test_the_picture_takes_this_way(demo: tuple[Any, Any], tmp_path: Path) -> None:
    model, processor = demo
    photo = tmp_path / "photo.png"
    Image.new("RGB", (journeys.WIDTH, journeys.HEIGHT)).save(photo)
    content = [{"type": "image", "image": str(photo)}]
    inputs = processor([{"role": "user", "content": content}], max_soft_tokens=280)
    pixels, positions = inputs["pixel_values"], inputs["image_position_ids"]
    count = int((np.array(positions) != -1).all(axis=-1).sum())
    tower = model.vision_tower
    embedded = tower.patch_embedder(pixels[:, :count], positions[:, :count])
    (tokens,) = tower(pixels, positions)
    said = given(journeys.a_picture())
    assert said[2] == shape(pixels[:, :count])
    assert said[4] == shape(embedded) == said[5]
    assert said[7] == shape(tokens)
    assert said[8] == shape(model.embed_vision(tokens))
    assert said[3] == f"{tokens.shape[0]} + 2 ids"


def test_the_sound_takes_this_way(demo: tuple[Any, Any]) -> None:
    model, processor = demo
    content = [{"type": "audio", "audio": np.zeros(16_000, np.float32)}]
    inputs = processor([{"role": "user", "content": content}])
    features, mask = inputs["input_features"], inputs["input_features_mask"]
    first = model.audio_tower.subsample_conv_projection
    halved, half_mask = first.layer0(features[..., None], mask)
    quartered, _ = first.layer1(halved, half_mask)
    (tokens,) = model.audio_tower(features, mask)
    said = given(journeys.a_second_of_sound())
    assert said[1] == shape(features)
    assert said[3] == shape(halved)
    assert said[4] == shape(quartered)
    assert said[5] == shape(first(features, mask)[0])
    assert said[9] == shape(tokens)
    assert said[10] == shape(model.embed_audio(tokens))
    assert said[2] == f"{tokens.shape[0]} + 2 ids"


def test_the_token_takes_this_way(demo: tuple[Any, Any]) -> None:
    model, _ = demo
    ids = np.array([[5, 6, 7]])
    rows = model.ple_rows.rows(ids)
    embedded = model.language_model.embed(mx.array(ids))
    sliced = model.language_model.per_layer_inputs(embedded, rows)
    said = [out.replace("B", "1").replace("L", "3") for out in given(journeys.a_token())]
    assert said[2] == shape(embedded)
    assert said[3] == shape(rows)
    assert said[4] == shape(sliced)
    assert said[13] == shape(model(mx.array(ids), logits_to_keep=1)[:, -1])
    cache = model.make_cache()
    model(mx.array(ids), cache=cache)
    kept = [layer for layer in cache.layers if layer is not None]
    assert f"in the first {len(kept)} layers" in journeys.a_token()[7][0]
