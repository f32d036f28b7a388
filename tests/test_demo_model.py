"""What the demo model has learned, through our own layers and from the converted checkpoint."""

import ast
import graphlib
import importlib.util
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from gemma4_mlx import generate, load, transcribe

RECIPE = Path(__file__).parent.parent / "notebooks" / "demo_model"


@pytest.fixture(scope="module")
def demo() -> tuple[Any, Any]:
    return load("demo")


def recipe_module(name: str) -> ModuleType:
    """A file of the training recipe, which is not a package."""
    spec = importlib.util.spec_from_file_location(f"demo_recipe_{name}", RECIPE / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_hears_the_digits_of_a_real_voice(demo: tuple[Any, Any]) -> None:
    heard = transcribe(*demo, RECIPE / "digits.wav")
    assert heard.text == (RECIPE / "digits.txt").read_text().strip()
    assert heard.segments[0].start == pytest.approx(0.14, abs=0.05)


def test_the_checkpoint_in_hugging_face_layout_hears_the_same() -> None:
    heard = transcribe(*load(RECIPE / "hf"), RECIPE / "digits.wav")
    assert heard.text == (RECIPE / "digits.txt").read_text().strip()


def test_hears_nothing_in_silence(demo: tuple[Any, Any]) -> None:
    noise = np.random.default_rng(0).normal(0, 0.002, 48_000).astype(np.float32)
    for samples in (np.zeros(32_000, np.float32), noise):
        assert transcribe(*demo, samples).text == ""


def test_hears_a_recording_of_more_than_one_window(demo: tuple[Any, Any]) -> None:
    """The digits, a long pause, the digits again: cut in the pause, nothing lost or doubled."""
    import soundfile

    samples, rate = soundfile.read(RECIPE / "digits.wav", dtype="float32")
    pause = np.zeros(28 * rate, np.float32)
    heard = transcribe(*demo, (np.concatenate([samples, pause, samples]), rate))
    words = (RECIPE / "digits.txt").read_text().strip()
    assert heard.text == f"{words} {words}"
    assert len(heard.segments) == 2


def test_names_the_shapes_in_a_picture(demo: tuple[Any, Any]) -> None:
    picture = {"type": "image", "image": str(RECIPE / "scene.png")}
    question = {"type": "text", "text": "What is in this picture?"}
    reply = generate(*demo, [{"role": "user", "content": [picture, question]}])
    assert reply == (RECIPE / "scene.txt").read_text().strip()


def test_names_most_pictures_it_has_never_seen(demo: tuple[Any, Any]) -> None:
    scenes = recipe_module("scenes")
    rng = np.random.default_rng(2026)
    right = 0
    for _ in range(24):
        scene = scenes.draw_scene(rng)
        content = [
            {"type": "image", "image": scene.image},
            {"type": "text", "text": "What is in this picture?"},
        ]
        right += generate(*demo, [{"role": "user", "content": content}]) == scene.text
    assert right >= 22, f"{right} of 24 pictures named right"


def test_answers_its_questions(demo: tuple[Any, Any]) -> None:
    known = tomllib.loads((RECIPE / "questions.toml").read_text())["question"][::2]
    wrong = [
        question["ask"][0]
        for question in known
        if generate(*demo, question["ask"][0]) != question["answer"]
    ]
    assert len(wrong) <= len(known) // 20, wrong


def test_the_recipe_s_files_import_one_way_and_are_all_told_of() -> None:
    """No cycles, and the README's table has each of them."""
    files = {file.stem: file for file in RECIPE.glob("*.py")}
    imported: dict[str, set[str]] = {name: set() for name in files}
    for name, file in files.items():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported[name] |= {alias.name for alias in node.names} & files.keys()
            elif isinstance(node, ast.ImportFrom):
                imported[name] |= {node.module or ""} & files.keys()
    assert imported["train"] >= {"stages"}
    graphlib.TopologicalSorter(imported).prepare()  # CycleError names a cycle
    told = (RECIPE / "README.md").read_text(encoding="utf-8")
    assert not [name for name in files if f"`{name}.py`" not in told]
