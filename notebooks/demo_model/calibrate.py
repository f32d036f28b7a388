"""Finite bounds for the clipped linear layers of both towers.

Gemma 4 stores for each of these layers the range its inputs and outputs had in training, and
clips to it. Training leaves the bounds open; here they are set to the range seen over many
recordings and pictures, widened by a quarter on either side.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn
from transformers import Gemma4ForConditionalGeneration
from transformers.models.gemma4.modeling_gemma4 import Gemma4ClippableLinear

from collator import Batch

MARGIN = 0.25


@torch.inference_mode()
def calibrate(model: Gemma4ForConditionalGeneration, batches: Iterable[Batch]) -> None:
    """Watch every clipped linear layer while `batches` run, then set and switch on its bounds."""
    layers = [m for m in model.modules() if isinstance(m, Gemma4ClippableLinear)]
    low = {layer: [float("inf")] * 2 for layer in layers}
    high = {layer: [-float("inf")] * 2 for layer in layers}

    def watch(layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        for i, tensor in enumerate((inputs[0], output)):
            low[layer][i] = min(low[layer][i], tensor.min().item())
            high[layer][i] = max(high[layer][i], tensor.max().item())

    hooks = [layer.register_forward_hook(watch) for layer in layers]
    for batch in batches:
        model(**batch.inputs, logits_to_keep=1, use_cache=False)
    for hook in hooks:
        hook.remove()
    for layer in layers:
        for i, name in enumerate(("input", "output")):
            room = MARGIN * (high[layer][i] - low[layer][i])
            getattr(layer, f"{name}_min").fill_(low[layer][i] - room)
            getattr(layer, f"{name}_max").fill_(high[layer][i] + room)
        layer.use_clipped_linears = True
