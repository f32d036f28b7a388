"""Everything that can be found out about a checkpoint, one check after another.

No check stops the next: whoever downloads ten gigabytes again wants to know of all that is wrong.
What cannot be checked because of an earlier finding is said to be skipped, never to have passed.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from gemma4_mlx.checks.against_transformers import check_against_transformers
from gemma4_mlx.checks.companions import (
    check_ends,
    check_processor,
    check_template,
    check_tokenizer,
)
from gemma4_mlx.checks.files import check_files
from gemma4_mlx.checks.outcome import Check, Status, refused
from gemma4_mlx.checks.runs import check_loading, check_runs
from gemma4_mlx.checks.shapes import check_shapes
from gemma4_mlx.checks.values import check_values
from gemma4_mlx.config import Gemma4Config
from gemma4_mlx.layer_plan import plan_layers

Progress = Callable[[str, int, int], None]

_RUNS = ("text", "picture", "recording", "transformers")
_NEED_CONFIG = (
    *("shapes", "tokenizer", "ends of a reply", "chat template", "processor", "loading"),
    *_RUNS,
)


def verify(path: Path, progress: Progress | None = None) -> Iterator[Check]:
    """Check the checkpoint directory ``path``; each check is handed out as it is done.

    ``progress`` hears what is going on, and how much of how much is done (0 of 0: not known).
    """
    # Some GPUs multiply float32 as if it had the mantissa of float16, unless they are told not to
    # before the first product.
    os.environ.setdefault("MLX_ENABLE_TF32", "0")
    told = progress or (lambda what, done, total: None)
    told("reading config.json", 0, 0)
    check, config = _check_config(path)
    yield check
    check, found = check_files(path)
    yield check

    if config is not None:
        yield check_shapes(config, found)
    packing = None if config is None else config.quantization
    yield check_values(found, packing, lambda done, total: told("reading weights", done, total))
    if config is None:
        for name in _NEED_CONFIG:
            yield Check(name, Status.SKIPPED, "not checked: config.json cannot be used")
        return

    check, tokenizer = check_tokenizer(path, config)
    yield check
    yield check_ends(path, config, tokenizer)
    yield check_template(path, config)

    told("loading", 0, 0)
    check, running = check_loading(path, config, found.tensors)
    yield check_processor(path, config if running is None else running.model.config)
    yield check
    if running is None:
        for name in _RUNS:
            yield Check(name, Status.SKIPPED, "not tried: the model is not loaded")
        return
    told("running", 0, 0)
    yield from check_runs(running)
    del running
    told("comparing with transformers", 0, 0)
    yield from check_against_transformers(path, config, found.tensors)


def _check_config(path: Path) -> tuple[Check, Gemma4Config | None]:
    name = "config"
    try:
        config = Gemma4Config.from_dir(path)
        layers = plan_layers(config.text)
    except Exception as error:
        return refused(name, error), None
    towers = [n for n, there in (("vision", config.vision), ("audio", config.audio)) if there]
    has = f"towers: {', '.join(towers)}" if towers else "no tower"
    experts = f", {config.text.num_experts} experts" if config.text.enable_moe_block else ""
    detail = f"{len(layers)} layers of width {config.text.hidden_size:,}{experts}; {has}"
    return Check(name, Status.OK, detail), config
