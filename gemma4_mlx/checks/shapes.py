"""Whether every tensor that config.json asks for is there, in the shape it asks for, and no other.

Told from the files' headers, by the same comparison that loading makes.
"""

import mlx.core as mx

from gemma4_mlx.checks.files import Found
from gemma4_mlx.checks.outcome import Check, Status, judged
from gemma4_mlx.config import Gemma4Config
from gemma4_mlx.errors import CheckpointError
from gemma4_mlx.layer_plan import plan_layers
from gemma4_mlx.loading.rename import in_our_layout, is_dropped, module_path
from gemma4_mlx.loading.weights import misfits

NAME = "shapes"


def check_shapes(config: Gemma4Config, found: Found) -> Check:
    """One problem a tensor. What unreadable files hold is not called missing."""
    if not found.tensors:
        return Check(NAME, Status.SKIPPED, "not compared: no tensor can be read")
    try:
        problems = misfits(config, found.tensors)
    except CheckpointError as error:
        return Check(NAME, Status.FAILED, str(error))
    lost = {ours for name in found.lost for ours in _our_names(name)}
    told = [
        f"{what}: {tensor}"
        for what, tensors in problems.items()
        for tensor in tensors
        if not (what == "missing" and tensor in lost)
    ]
    plan = plan_layers(config.text)
    unused = sum(is_dropped(module_path(name), plan) for name in found.tensors)
    passed = f"{len(found.tensors):,} tensors fit config.json"
    passed += f", {unused:,} of them unused by rule" if unused else ""
    if lost:
        passed += f"; {len(found.lost):,} in files that cannot be read were not compared"
    return judged(NAME, told, passed, f"{len(told):,} of the tensors do not fit config.json")


def _our_names(name: str) -> list[str]:
    """Our names of a tensor of which only the name is known: experts' gate and up are two."""
    return list(in_our_layout(module_path(name), mx.zeros((1, 2, 1))))
