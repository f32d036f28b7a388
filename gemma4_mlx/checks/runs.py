"""Whether the model runs: what it is given comes out as finite logits, and it says something.

What it says is shown and not judged: whether seven was heard is for a person to see.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np

from gemma4_mlx.checks.outcome import Check, Status, in_units, refused
from gemma4_mlx.checks.prompts import PICTURE_TOKENS, Prompt, prompts
from gemma4_mlx.config import Gemma4Config
from gemma4_mlx.generation.stream import generate
from gemma4_mlx.loading.safetensors_file import TensorInfo
from gemma4_mlx.loading.weights import load_weights
from gemma4_mlx.memory import keeps_table_in_memory, room
from gemma4_mlx.model import Gemma4Model
from gemma4_mlx.processing.processor import Processor

# Logits are looked at, and compared, at so many positions at the end of a prompt.
KEPT = 64
REPLY_TOKENS = 24


@dataclass(frozen=True)
class Running:
    """A model with its processor."""

    model: Gemma4Model
    processor: Processor

    def has(self, prompt: Prompt) -> bool:
        """Whether the model has the tower that a prompt is for."""
        towers = {"vision": self.model.has_vision, "audio": self.model.has_audio, None: True}
        return towers[prompt.tower]


def check_loading(
    path: Path, config: Gemma4Config, tensors: Mapping[str, TensorInfo]
) -> tuple[Check, Running | None]:
    """The way that ``load`` goes. None when it cannot be gone, or memory does not reach."""
    name = "loading"
    needed, there = _in_use(tensors), room()
    if needed > there.nbytes:
        why = (
            f"not tried: it takes {in_units(needed)}, the {there.kind} is {in_units(there.nbytes)}"
        )
        return Check(name, Status.SKIPPED, why), None
    try:
        model = load_weights(path)
        processor = Processor.from_dir(path, model.config)
    except Exception as error:
        return refused(name, error), None
    towers = [n for n, there in (("vision", model.has_vision), ("audio", model.has_audio)) if there]
    lacking = [
        tower
        for tower, wanted in (("vision", config.vision), ("audio", config.audio))
        if wanted and tower not in towers
    ]
    detail = f"{in_units(needed)} in use; towers: {', '.join(towers) or 'none'}"
    if lacking:
        detail += f" (config.json has {' and '.join(lacking)} too, the files have not)"
    return Check(name, Status.OK, detail), Running(model, processor)


def check_runs(running: Running) -> Iterator[Check]:
    """A check for the text, the picture and the recording."""
    for prompt in prompts():
        if running.has(prompt):
            yield _check_run(running, prompt)
        else:
            why = f"not tried: the model has no {prompt.tower} tower"
            yield Check(prompt.name, Status.SKIPPED, why)


def _check_run(running: Running, prompt: Prompt) -> Check:
    try:
        inputs = inputs_of(running, prompt)
        found = logits(running.model, inputs)
        wrong = int(np.count_nonzero(~np.isfinite(found)))
        if wrong:
            what = f"{wrong:,} of {found.size:,} logits are NaN or infinite"
            return Check(prompt.name, Status.FAILED, what)
        reply = generate(
            running.model,
            running.processor,
            prompt.messages,
            max_tokens=REPLY_TOKENS,
            max_soft_tokens=PICTURE_TOKENS,
            temperature=0.0,
        )
    except Exception as error:  # of whatever kind: a check tells of what it met
        return refused(prompt.name, error)
    count = inputs["input_ids"].shape[1]
    return Check(prompt.name, Status.OK, f"{count} tokens, logits finite; it says {reply!r}")


def inputs_of(running: Running, prompt: Prompt) -> dict[str, mx.array]:
    """The model's inputs for a prompt."""
    return running.processor(prompt.messages, max_soft_tokens=PICTURE_TOKENS)


def logits(model: Gemma4Model, inputs: Mapping[str, mx.array]) -> np.ndarray:
    """Logits (positions, vocab) in float32, at the last positions of a prompt."""
    arrays: dict[str, Any] = dict(inputs)
    found = model(**arrays, logits_to_keep=min(KEPT, inputs["input_ids"].shape[1]))
    return np.array(found.astype(mx.float32))[0]


def _in_use(tensors: Mapping[str, TensorInfo]) -> int:
    """Bytes of the weights that have to be in memory, which a large per-layer table has not."""
    table = sum(i.nbytes for name, i in tensors.items() if "embed_tokens_per_layer" in name)
    total = sum(info.nbytes for info in tensors.values())
    return total if keeps_table_in_memory(table) else total - table
