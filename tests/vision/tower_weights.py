"""Random weights for a tower, and the same weights in a transformers model.

Every tensor is random and of a scale at which it matters: norm weights away from 1, clip bounds
that clip, scales away from 0. Loading into torch is strict, so a name or shape of ours that
differs from the checkpoint's fails every comparison.
"""

import math
from collections.abc import Sequence
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx.utils import tree_flatten


def randomize(module: nn.Module, seed: int = 0) -> None:
    """Fill every parameter of an MLX module in place, from a seed."""
    draw = np.random.RandomState(seed)
    flat = tree_flatten(module.parameters())
    weights = [(name, mx.array(_value(name, array.shape, draw))) for name, array in flat]
    module.load_weights(weights, strict=True)


def _value(name: str, shape: tuple[int, ...], draw: np.random.RandomState) -> np.ndarray:
    last = name.rsplit(".", 1)[-1]
    if last in ("input_min", "output_min"):
        value = draw.uniform(-1.6, -0.8, shape)
    elif last in ("input_max", "output_max"):
        value = draw.uniform(0.8, 1.6, shape)
    elif "q_norm" in name or "k_norm" in name:
        # Attention has no scale: with weights near 1, logits of heads of 72 would be of size 8,
        # and a softmax that sharp turns rounding into differences.
        value = draw.uniform(0.2, 0.7, shape)
    elif "norm" in name or last == "std_scale":
        value = draw.uniform(0.5, 1.5, shape)
    elif last in ("per_dim_scale", "std_bias", "bias", "position_embedding_table"):
        value = draw.normal(0.0, 0.7, shape)
    else:
        value = draw.normal(0.0, 1 / math.sqrt(math.prod(shape[1:])), shape)
    return np.asarray(value, dtype=np.float32)


def copy_to_torch(module: nn.Module, torch_model: Any) -> None:
    """Load the weights of an MLX module into the torch one of the same names."""
    import torch

    flat = tree_flatten(module.parameters())
    state = {name: torch.from_numpy(_torch_layout(array)) for name, array in flat}
    torch_model.load_state_dict(state, strict=True)
    torch_model.eval()


def _torch_layout(array: mx.array) -> np.ndarray:
    # Convolutions are the only tensors of three or four axes besides the table of positions.
    weight = np.array(array)
    if weight.ndim == 4 or (weight.ndim == 3 and weight.shape[-1] == 1):
        weight = np.ascontiguousarray(np.moveaxis(weight, -1, 1))
    return weight


def largest_difference(ours: Sequence[Any], theirs: Sequence[Any]) -> float:
    """max |Δ| over lists of arrays; fails when shapes differ."""
    assert [tuple(a.shape) for a in ours] == [tuple(b.shape) for b in theirs]
    return max(
        float(np.abs(np.asarray(a) - np.asarray(b)).max())
        for a, b in zip(ours, theirs, strict=True)
    )
