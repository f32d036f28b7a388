"""Per-layer embeddings (PLE) of E2B and E4B: a second, larger embedding that feeds every layer.

A token has one row in a table as wide as all layers together. To each layer goes its slice of

    (context + row · √P) · 2^−½,    context = norm(projection(embedding) · hidden^−½)

where P is the width of a slice. The table is 46 % of E2B's parameters and one row of it is used
per token, so the rows come from an object (`RowSource`) that may read them from flash: this file
knows nothing of files. At image, audio and video positions the row is that of the pad token.

Source: transformers ``modeling_gemma4`` (get_per_layer_inputs, project_per_layer_inputs).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from gemma4_mlx.config import TextConfig
from gemma4_mlx.nn.norms import RMSNorm
from gemma4_mlx.text.mlp import gated_gelu


@dataclass(frozen=True)
class StepRows:
    """The rows (B, 1, layers · P) of one decoding step.

    With a ``write`` function the step's tokens may be unknown while its graph is built: call it
    with their ids (B, 1) before the graph is evaluated.
    """

    value: mx.array
    write: Callable[[np.ndarray], None] | None = None


class RowSource(Protocol):
    """Where the rows of ``embed_tokens_per_layer`` come from."""

    def rows(self, ids: np.ndarray) -> mx.array:
        """The rows of known ids (B, L), as (B, L, layers · P)."""

    def step(self, ids: mx.array) -> StepRows:
        """The rows of one further token per row, ids (B, 1), which may not be evaluated yet."""

    def tensors(self) -> dict[str, mx.array]:
        """The table's tensors by name, not read yet."""


def per_layer_inputs(
    embeddings: mx.array, rows: mx.array, projection: nn.Module, norm: RMSNorm, config: TextConfig
) -> mx.array:
    """Embeddings (B, L, hidden) and table rows (B, L, layers · P) → (B, L, layers, P)."""
    layers, width = config.num_hidden_layers, config.hidden_size_per_layer_input
    shape = (*embeddings.shape[:2], layers, width)
    context = norm((projection(embeddings) * config.hidden_size**-0.5).reshape(shape))
    return (context + rows.reshape(shape).astype(context.dtype) * width**0.5) * 2.0**-0.5


def add_per_layer_input(
    x: mx.array, per_layer_input: mx.array, gate: nn.Module, projection: nn.Module, norm: RMSNorm
) -> mx.array:
    """The third residual block of a layer: x (B, L, hidden), its slice (B, L, P)."""
    return x + norm(projection(gated_gelu(gate(x), per_layer_input)))
