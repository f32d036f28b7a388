"""A whole verification: good checkpoints pass, damaged ones fail with all that is wrong."""

from collections.abc import Callable
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from gemma4_mlx.checks import against_transformers, runs
from gemma4_mlx.checks.outcome import Check, Status
from gemma4_mlx.checks.verify import verify
from gemma4_mlx.demo import demo_path
from gemma4_mlx.memory import Room
from tests.checks.whole import whole_checkpoint
from tests.reference.checkpoints import edit_json, read_weights, shard_checkpoint, write_weights

TEXT = "model.language_model."
NAMES = [
    *("config", "files", "shapes", "values", "tokenizer", "ends of a reply", "chat template"),
    *("processor", "loading", "text", "picture", "recording", "transformers"),
]
Make = Callable[[str], Path]


@pytest.fixture(autouse=True)
def no_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where it is not installed; tests/checks/test_against_transformers.py has the rest."""
    monkeypatch.setattr(against_transformers.importlib.util, "find_spec", lambda _name: None)


@pytest.fixture
def make(tmp_path: Path) -> Make:
    return lambda family: whole_checkpoint(family, tmp_path / "model")


def verified(path: Path) -> dict[str, Check]:
    checks = list(verify(path))
    assert [check.name for check in checks] == NAMES, "each check is told of once, in this order"
    for check in checks:
        assert "\n" not in check.detail + "".join(check.problems)
    return {check.name: check for check in checks}


def ended(checks: dict[str, Check], status: Status) -> set[str]:
    return {name for name, check in checks.items() if check.status is status}


@pytest.mark.parametrize("family", ["e2b", "e4b", "26b", "31b"])
def test_good_checkpoints(make: Make, family: str) -> None:
    checks = verified(make(family))
    assert ended(checks, Status.FAILED) == set()
    assert ended(checks, Status.WARNING) == {"processor"}, "the tiny ones have no such file"
    deaf = {"recording"} if family in ("26b", "31b") else set()
    assert ended(checks, Status.SKIPPED) == {"transformers"} | deaf
    assert "torch and transformers not installed" in checks["transformers"].detail
    if deaf:
        assert checks["recording"].detail == "not tried: the model has no audio tower"


def test_the_demo() -> None:
    """All of it passes, and it sees and hears what is in the picture and the recording."""
    checks = verified(demo_path())
    assert ended(checks, Status.OK) == set(NAMES) - {"transformers"}
    assert "it says 'seven two five'" in checks["recording"].detail
    assert "it says 'a red circle and a blue square'" in checks["picture"].detail
    assert "Paris" in checks["text"].detail
    assert "integers, all of them valid" in checks["values"].detail


def test_a_text_only_conversion(make: Make) -> None:
    path = make("e2b")
    weights = read_weights(path)
    write_weights(path, {name: w for name, w in weights.items() if name.startswith(TEXT)})
    checks = verified(path)
    assert ended(checks, Status.FAILED) == ended(checks, Status.WARNING) == set()
    assert ended(checks, Status.SKIPPED) == {"picture", "recording", "transformers"}
    assert "config.json has vision and audio too" in checks["loading"].detail


def test_nan_in_one_tensor(make: Make) -> None:
    """Named by the values; what it does to the output is told too."""
    path = make("e2b")
    weights = read_weights(path)
    name = TEXT + "layers.2.mlp.gate_proj.weight"
    weights[name][3, 5] = mx.nan
    write_weights(path, weights)
    checks = verified(path)
    assert ended(checks, Status.FAILED) == {"values", "text", "picture", "recording"}
    assert checks["values"].problems == (f"{name}: 1 NaN of 4,096 numbers, the first at [3, 5]",)
    assert "logits are NaN or infinite" in checks["text"].detail


def test_nan_where_no_prompt_looks(make: Make) -> None:
    """In a row of the table for a token that never comes: no output shows it."""
    path = make("e2b")
    weights = read_weights(path)
    weights[TEXT + "embed_tokens_per_layer.weight"][124, 0] = mx.nan
    write_weights(path, weights)
    checks = verified(path)
    assert ended(checks, Status.FAILED) == {"values"}


def test_a_wrong_shape_and_a_missing_tensor(make: Make) -> None:
    """Both are named, the numbers are looked at, and what cannot run is said to be skipped."""
    path = make("31b")
    weights = read_weights(path)
    del weights[TEXT + "layers.1.mlp.up_proj.weight"]
    weights[TEXT + "norm.weight"] = mx.ones((7,))
    write_weights(path, weights)
    checks = verified(path)
    assert ended(checks, Status.FAILED) == {"shapes", "loading"}
    assert len(checks["shapes"].problems) == 2
    assert ended(checks, Status.SKIPPED) == {"text", "picture", "recording", "transformers"}
    assert checks["text"].detail == "not tried: the model is not loaded"


def test_a_cut_shard_and_more(make: Make) -> None:
    """Faults of five kinds in one checkpoint: none hides another."""
    path = make("e2b")
    weights = read_weights(path)
    name = TEXT + "layers.2.input_layernorm.weight"
    weights[name] = mx.array(np.full(64, np.inf, np.float32))
    write_weights(path, weights)
    shard_checkpoint(path, shards=2)
    last = path / "model-00002-of-00002.safetensors"
    in_first = name in mx.load(str(path / "model-00001-of-00002.safetensors"))
    cut = last if in_first else path / "model-00001-of-00002.safetensors"
    cut.write_bytes(cut.read_bytes()[:-1])
    edit_json(path / "generation_config.json", eos_token_id=[1])
    (path / "tokenizer.json").write_text("{")
    (path / "chat_template.jinja").write_text("{% for")
    checks = verified(path)
    assert ended(checks, Status.FAILED) == {
        *("files", "values", "tokenizer", "chat template", "loading"),
    }
    assert "64 infinite of 64 numbers" in checks["values"].problems[0]
    assert ended(checks, Status.SKIPPED) >= {"ends of a reply", "text"}


@pytest.mark.parametrize(
    "config", [None, "{", '{"model_type": "llama"}', '{"model_type": "gemma4"}']
)
def test_a_config_that_cannot_be_used(make: Make, config: str | None) -> None:
    """The files and the numbers in them can be checked all the same."""
    path = make("31b")
    (path / "config.json").unlink()
    if config is not None:
        (path / "config.json").write_text(config)
    weights = read_weights(path)
    weights[TEXT + "norm.weight"][1] = mx.nan
    write_weights(path, weights)
    checks = {check.name: check for check in verify(path)}
    assert set(checks) == set(NAMES)
    assert ended(checks, Status.FAILED) == {"config", "values"}
    assert ended(checks, Status.OK) == {"files"}
    assert "config.json cannot be used" in checks["loading"].detail


def test_an_empty_folder(tmp_path: Path) -> None:
    checks = {check.name: check for check in verify(tmp_path)}
    assert ended(checks, Status.FAILED) == {"config", "files"}
    assert len(ended(checks, Status.SKIPPED)) == len(NAMES) - 2


def test_a_model_too_large_for_the_machine(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything but running it is done."""
    monkeypatch.setattr(runs, "room", lambda: Room(100_000, "working set"))
    checks = verified(make("31b"))
    assert ended(checks, Status.FAILED) == set()
    assert checks["loading"].detail == "not tried: it takes 0.6 MB, the working set is 0.1 MB"
    assert checks["text"].status is Status.SKIPPED
    assert checks["values"].status is Status.OK


def test_what_goes_wrong_in_a_run_is_told(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def overflowing(*_args: object) -> None:
        raise RuntimeError("[metal::malloc] too much\nreally")

    monkeypatch.setattr(runs, "logits", overflowing)
    checks = verified(make("31b"))
    assert checks["text"].status is Status.FAILED
    assert checks["text"].detail == "RuntimeError: [metal::malloc] too much really"


def test_progress(make: Make) -> None:
    heard: list[tuple[str, int, int]] = []
    list(verify(make("31b"), lambda *told: heard.append(told)))
    assert {what for what, _, _ in heard} == {
        *("reading config.json", "reading weights", "loading", "running"),
        "comparing with transformers",
    }
    assert [done for what, done, _ in heard if what == "reading weights"][-1] > 600_000
