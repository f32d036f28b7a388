"""Training in several processes, as torchrun starts them: each draws its own batches, and all make
the same step."""

from __future__ import annotations

import os

import torch
from torch import distributed, nn

RANK = int(os.environ.get("RANK", "0"))
WORLD = int(os.environ.get("WORLD_SIZE", "1"))


def average_gradients(model: nn.Module) -> None:
    """One all-reduce of all gradients; a parameter unused in this process counts as zero."""
    if WORLD == 1:
        return
    parameters = list(model.parameters())
    flat = torch.cat(
        [(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters]
    )
    distributed.all_reduce(flat)
    flat /= WORLD
    for p, part in zip(parameters, flat.split([p.numel() for p in parameters])):
        p.grad = part.view_as(p)
