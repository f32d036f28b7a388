"""Find the weights that hold NaN, once an output has shown that one does.

Reading every weight at load time to look for NaN would cost what lazy loading saves, so the scan
runs only when logits come out as NaN.
"""

import mlx.core as mx
from mlx.utils import tree_flatten

from gemma4_mlx.model import Gemma4Model


def tensors_with_nan(model: Gemma4Model) -> list[str]:
    """Names of the tensors with a NaN in them, evaluated one at a time."""
    tensors = dict(tree_flatten(model.parameters()))
    tensors.update(model.ple_tensors())
    return [
        name
        for name, tensor in tensors.items()
        if mx.issubdtype(tensor.dtype, mx.floating) and mx.isnan(tensor).any().item()
    ]
