"""Our logits beside transformers': equal on good checkpoints, and never claimed unseen."""

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest

from gemma4_mlx.checks import against_transformers as module
from gemma4_mlx.checks.against_transformers import check_against_transformers
from gemma4_mlx.checks.outcome import Check, Status
from gemma4_mlx.config import Gemma4Config
from gemma4_mlx.demo import demo_path
from gemma4_mlx.loading.safetensors_file import checkpoint_tensors
from tests.checks.whole import whole_checkpoint

HF = Path(__file__).parents[2] / "notebooks" / "demo_model" / "hf"


def compared(path: Path) -> list[Check]:
    config = Gemma4Config.from_dir(path)
    return list(check_against_transformers(path, config, checkpoint_tensors(path)))


def skipped(path: Path) -> str:
    (check,) = compared(path)
    assert (check.name, check.status) == ("transformers", Status.SKIPPED)
    return check.detail


@pytest.fixture
def needs_transformers() -> None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "cases"), [("hf", 3), ("26b", 2)])
def test_the_same_logits(needs_transformers: None, tmp_path: Path, name: str, cases: int) -> None:
    path = HF if name == "hf" else whole_checkpoint(name, tmp_path / "model")
    checks = compared(path)
    assert [check.name for check in checks] == [
        *("transformers: text", "transformers: picture", "transformers: recording")
    ][:cases]
    for check in checks:
        assert check.status is Status.OK, check
        most = float(check.detail.split("differ by ")[1].split()[0])
        assert most < 1e-3, check
        assert "float32, torch" in check.detail


@pytest.mark.slow
def test_in_bfloat16_where_float32_does_not_fit(
    needs_transformers: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Less memory than float32 takes, enough for bfloat16."""
    numbers = sum(np.prod(info.shape) for info in checkpoint_tensors(HF).values())
    monkeypatch.setattr(module, "_SPARE", 0)
    monkeypatch.setattr(module, "_free_memory", lambda: int(numbers * 3 / module._SHARE))
    for check in compared(HF):
        assert check.status is Status.OK and "bfloat16, torch" in check.detail, check


def test_without_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    there = importlib.util.find_spec("json")
    monkeypatch.setattr(
        module.importlib.util, "find_spec", lambda name: there if name == "torch" else None
    )
    assert skipped(HF).startswith("not compared: transformers not installed (pip install")


def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda _name: True)


def test_a_conversion_cannot_be_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch)
    assert "does not read MLX conversions" in skipped(demo_path())


def test_too_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch)
    monkeypatch.setattr(module, "_free_memory", lambda: 10**9)
    assert skipped(HF) == "not compared: it takes 1.5 GB in bfloat16, 900.0 MB can be had"


def test_free_memory_is_a_number() -> None:
    assert 2**20 < module._free_memory() < 2**50


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("raise RuntimeError('no Gemma 4 here')", "it says RuntimeError: no Gemma 4 here"),
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
            "signal 9), likely for lack of",
        ),
        ("raise SystemExit(3)", "it says nothing"),
    ],
)
def test_a_reference_that_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str, told: str
) -> None:
    """What transformers cannot run is not compared, and no verdict on the checkpoint."""
    installed(monkeypatch)
    process = tmp_path / "process.py"
    process.write_text(code)
    monkeypatch.setattr(module, "_PROCESS", process)
    assert told in skipped(HF)


def reference(monkeypatch: pytest.MonkeyPatch, change) -> None:
    """A reference that says what we say, but for a change."""
    installed(monkeypatch)
    ours = module._ours
    kept: dict[str, np.ndarray] = {}

    def remembered(*args):
        kept.update(ours(*args))
        return dict(kept)

    monkeypatch.setattr(module, "_ours", remembered)
    monkeypatch.setattr(
        module, "_theirs", lambda *_: ({k: change(v) for k, v in kept.items()}, "a version")
    )


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        (lambda x: x, Status.OK, "differ by 0.0e+00 at most (allowed 0.02)"),
        (lambda x: x + 0.03, Status.FAILED, "differ by 3.0e-02 at most (allowed 0.02)"),
        (lambda x: -x, Status.FAILED, "the same at 0 of 16 positions"),
        (lambda x: x * np.nan, Status.FAILED, "cannot be compared"),
        (lambda x: x[:, :5], Status.FAILED, "(16, 5) cannot be compared with ours (16, 1024)"),
    ],
)
def test_what_differs_fails(monkeypatch: pytest.MonkeyPatch, change, status, words) -> None:
    reference(monkeypatch, change)
    checks = compared(HF)
    assert len(checks) == 3
    assert {check.status for check in checks} == {status}
    assert words in checks[0].detail


@pytest.mark.parametrize(
    ("change", "status"), [(lambda x: x, Status.OK), (lambda x: x[:, ::-1], Status.FAILED)]
)
def test_what_differs_in_bfloat16_fails(monkeypatch: pytest.MonkeyPatch, change, status) -> None:
    reference(monkeypatch, change)
    monkeypatch.setattr(module, "_possible", lambda *_: ("bfloat16", ""))
    checks = compared(HF)
    assert {check.status for check in checks} == {status}
    assert "KL divergence" in checks[0].detail


def test_divergence() -> None:
    p = np.log(np.array([[0.5, 0.5], [0.9, 0.1]], np.float32)) + 7
    q = np.log(np.array([[0.25, 0.75], [0.9, 0.1]], np.float32))
    expected = (0.5 * np.log(2) + 0.5 * np.log(0.5 / 0.75)) / 2
    assert module._divergence(p, q) == pytest.approx(expected, abs=1e-6)
    assert module._divergence(p, p) == 0


def test_our_errors_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch)

    def broken(*_args) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(module, "_ours", broken)
    (check,) = compared(HF)
    assert check.status is Status.FAILED and check.detail == "ZeroDivisionError: oops"


def test_nothing_is_left_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module.tempfile, "tempdir", str(tmp_path))
    reference(monkeypatch, lambda x: x)
    compared(HF)
    assert os.listdir(tmp_path) == []
