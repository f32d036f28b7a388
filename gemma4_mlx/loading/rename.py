"""From the tensor names and layouts in a checkpoint to the attribute paths of our modules.

Four namings are in use and one table reads them all:

    Hugging Face, whole model   model.language_model.layers.0.…, model.vision_tower.…
    Hugging Face, text model    model.layers.0.…
    mlx-vlm and mlx-lm          language_model.model.layers.0.…, vision_tower.…
    ours                        language_model.layers.0.…, vision_tower.…

Besides names, two layouts differ: Hugging Face keeps the experts' gate and up projections in one
tensor, and PyTorch puts a convolution's input channels before its kernel.
"""

import re

import mlx.core as mx

from gemma4_mlx.layer_plan import LayerPlan

PLE_TABLE = "language_model.embed_tokens_per_layer"

_RENAMES = (
    (r"^language_model\.model\.", "language_model."),
    (r"^language_model\.lm_head\.", "lm_head."),
    (r"^model\.", ""),
    (r"^(embed_tokens|layers|norm|per_layer_)", r"language_model.\1"),
    (r"\.experts\.down_proj$", ".experts.switch_glu.down_proj.weight"),
)

# Left out by rule: the output layer is the embedding, and constants are computed.
_DROPPED = re.compile(r"^lm_head\.|rotary_emb\.|rel_pos_enc\.|\.softcap$|\.embed_scale$")

_BORROWED = re.compile(
    r"^language_model\.layers\.(\d+)\.self_attn\.(?:k_proj|v_proj|k_norm|v_norm)\."
)
_GATE_UP = ".experts.gate_up_proj"
_CONV_2D = re.compile(r"subsample_conv_projection\.layer\d+\.conv\.weight$")
_CONV_1D = re.compile(r"depthwise_conv1d\.weight$")


def module_path(name: str) -> str:
    """The attribute path of a tensor or module that a checkpoint calls ``name``."""
    for pattern, replacement in _RENAMES:
        name = re.sub(pattern, replacement, name)
    return name


def is_dropped(path: str, plan: tuple[LayerPlan, ...]) -> bool:
    """Whether a tensor is left out by rule.

    Released files carry key and value projections for layers that borrow theirs; QAT files do
    not. Both are fine.
    """
    if _DROPPED.search(path):
        return True
    borrowed = _BORROWED.match(path)
    if borrowed is None:
        return False
    layer = int(borrowed.group(1))
    return layer < len(plan) and plan[layer].kv_donor is not None


def in_our_layout(path: str, tensor: mx.array) -> dict[str, mx.array]:
    """The tensor as our modules hold it, under one path or several; nothing is evaluated."""
    # One that cannot be halved stays as it is, to be reported with all else that does not fit.
    if path.endswith(_GATE_UP) and tensor.ndim == 3 and tensor.shape[-2] % 2 == 0:
        base = path.removesuffix("gate_up_proj") + "switch_glu."
        gate, up = mx.split(tensor, 2, axis=-2)
        # A half that stayed a view would be copied at every matrix product.
        return {
            base + "gate_proj.weight": mx.contiguous(gate),
            base + "up_proj.weight": mx.contiguous(up),
        }
    # PyTorch (out, in, height, width) → MLX (out, height, width, in); kernels are 3 × 3.
    if _CONV_2D.search(path) and tensor.ndim == 4 and tensor.shape[2:] == (3, 3):
        return {path: tensor.transpose(0, 2, 3, 1)}
    # PyTorch (channels, 1, kernel) → MLX (channels, kernel, 1).
    if _CONV_1D.search(path) and tensor.ndim == 3 and tensor.shape[1] == 1:
        return {path: tensor.transpose(0, 2, 1)}
    return {path: tensor}
