"""Our logits beside transformers', on the same inputs, if it is installed and memory reaches.

Both compute in float32 where that fits, else in bfloat16. Only one of the two models is in memory
at a time: ours is let go before transformers runs, in a process of its own, which takes its memory
with it when it ends.
"""

import importlib.util
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np

from gemma4_mlx.checks.outcome import Check, Status, in_units, refused
from gemma4_mlx.checks.prompts import Prompt, prompts
from gemma4_mlx.checks.runs import KEPT, Running, inputs_of, logits
from gemma4_mlx.config import Gemma4Config
from gemma4_mlx.loading.safetensors_file import TensorInfo
from gemma4_mlx.loading.weights import load_weights
from gemma4_mlx.memory import physical_memory, room
from gemma4_mlx.processing.processor import Processor

NAME = "transformers"

# What rounding may make of logits that reach to 30: another order of sums, through 60 layers.
MOST_IN_FLOAT32 = 0.02
# In bfloat16 the numbers themselves are rounded. Mean KL divergence in nats.
MOST_IN_BFLOAT16 = 0.1

_SPARE = 1.5e9  # bytes for torch, transformers and the activations
_SHARE = 0.9  # of what is free
_ITEM_BYTES = {"float32": 4, "bfloat16": 2}
_PROCESS = Path(__file__).with_name("transformers_process.py")


def check_against_transformers(
    path: Path, config: Gemma4Config, tensors: Mapping[str, TensorInfo]
) -> Iterator[Check]:
    """A check for each prompt, or one that says why there is no comparison."""
    dtype, why = _possible(config, tensors)
    if dtype is None:
        yield Check(NAME, Status.SKIPPED, f"not compared: {why}")
        return
    with tempfile.TemporaryDirectory(prefix="gemma4-verify-") as folder:
        try:
            ours = _ours(path, dtype, Path(folder))
            theirs, versions = _theirs(path, dtype, list(ours), Path(folder))
        except _NoReference as error:
            yield Check(NAME, Status.SKIPPED, f"not compared: {error}")
            return
        except Exception as error:
            yield refused(NAME, error)
            return
    for name, found in ours.items():
        yield _compared(name, found, theirs[name], dtype, versions)


class _NoReference(Exception):
    """Transformers could not run the model."""


def _possible(config: Gemma4Config, tensors: Mapping[str, TensorInfo]) -> tuple[str | None, str]:
    """The dtype to compare in; None and the reason when there can be no comparison."""
    absent = [name for name in ("torch", "transformers") if not importlib.util.find_spec(name)]
    if absent:
        return None, f"{' and '.join(absent)} not installed (pip install torch transformers)"
    if config.quantization is not None or not all(map(_is_theirs, tensors)):
        return None, "transformers does not read MLX conversions; verify the original as well"
    numbers = sum(math.prod(info.shape) for info in tensors.values())
    free = min(_free_memory(), room().nbytes) * _SHARE
    for dtype, item_bytes in _ITEM_BYTES.items():
        if numbers * item_bytes + _SPARE <= free:
            return dtype, ""
    needed = numbers * _ITEM_BYTES["bfloat16"] + _SPARE
    return None, f"it takes {in_units(needed)} in bfloat16, {in_units(free)} can be had"


def _is_theirs(name: str) -> bool:
    """Hugging Face's names begin so."""
    return name.startswith(("model.", "lm_head."))


def _ours(path: Path, dtype: str, folder: Path) -> dict[str, np.ndarray]:
    """Our logits by prompt; the inputs go into files for the other side."""
    model = load_weights(path, getattr(mx, dtype))
    running = Running(model, Processor.from_dir(path, model.config))
    found = {}
    for prompt in prompts():
        if running.has(prompt):
            found[prompt.name] = _one_of_ours(running, prompt, folder)
    del running, model
    mx.clear_cache()
    return found


def _one_of_ours(running: Running, prompt: Prompt, folder: Path) -> np.ndarray:
    inputs = inputs_of(running, prompt)
    arrays: dict[str, Any] = {key: np.array(array) for key, array in inputs.items()}
    np.savez(folder / f"{prompt.name}.npz", **arrays)
    return logits(running.model, inputs)


def _theirs(
    path: Path, dtype: str, names: list[str], folder: Path
) -> tuple[dict[str, np.ndarray], str]:
    """Their logits by prompt, and their versions in words. Raises _NoReference."""
    request = {"checkpoint": str(path.resolve()), "dtype": dtype, "prompts": names}
    (folder / "request.json").write_text(json.dumps(request | {"positions": KEPT}))
    done = subprocess.run(
        # -P: nothing is to be imported from the folder of that file.
        [sys.executable, "-P", str(_PROCESS), str(folder)],
        env=os.environ | {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode < 0:
        raise _NoReference(f"it was ended (signal {-done.returncode}), likely for lack of memory")
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise _NoReference(f"it says {(lines or ['nothing'])[-1]}")
    versions = json.loads((folder / "versions.json").read_text())
    told = ", ".join(f"{name} {version}" for name, version in versions.items())
    return {name: np.load(folder / f"{name}.npy") for name in names}, told


def _compared(name: str, ours: np.ndarray, theirs: np.ndarray, dtype: str, versions: str) -> Check:
    """Both are (positions, vocab) in float32."""
    name = f"{NAME}: {name}"
    if ours.shape != theirs.shape or not np.isfinite(theirs).all():
        why = f"its logits {theirs.shape} cannot be compared with ours {ours.shape}"
        return Check(name, Status.FAILED, why)
    most = float(np.abs(ours - theirs).max())
    same = int((ours.argmax(-1) == theirs.argmax(-1)).sum())
    agreed = f"likeliest token the same at {same} of {len(ours)} positions, {dtype}, {versions}"
    if dtype == "float32":
        told = f"logits differ by {most:.1e} at most (allowed {MOST_IN_FLOAT32})"
        passed = most <= MOST_IN_FLOAT32
    else:
        kl = _divergence(theirs, ours)
        told = f"KL divergence {kl:.1e} (allowed {MOST_IN_BFLOAT16}), logits differ by {most:.1e}"
        passed = kl <= MOST_IN_BFLOAT16
    return Check(name, Status.OK if passed else Status.FAILED, f"{told}; {agreed}")


def _divergence(p: np.ndarray, q: np.ndarray) -> float:
    """Mean KL(p ‖ q) in nats of two tables of logits (positions, vocab)."""

    def log_softmax(x: np.ndarray) -> np.ndarray:
        x = x.astype(np.float64) - x.max(-1, keepdims=True)
        return x - np.log(np.exp(x).sum(-1, keepdims=True))

    log_p, log_q = log_softmax(p), log_softmax(q)
    return float((np.exp(log_p) * (log_p - log_q)).sum(-1).mean())


def _free_memory() -> int:
    """Bytes that a new program can have; where the system does not tell, all there is."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        available = next(line for line in lines if line.startswith("MemAvailable:"))
        return int(available.split()[1]) * 1024
    except (OSError, StopIteration, ValueError, IndexError):
        return physical_memory()
