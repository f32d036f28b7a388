"""The tensor groups of Gemma 4: what a recipe gives bits to, in one table.

Every tensor of a checkpoint belongs to exactly one group, found by its path in our modules. The
last group is never packed. Besides what MLX cannot pack, it holds two matrices whose dtype mlx-vlm
casts its input to, which would turn pixels and positions into packed integers: the patch
embedder's projection, and the audio tower's of relative positions.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class TensorGroup:
    """Tensors that are treated alike. ``title`` says what they are to someone reading a plan."""

    name: str
    title: str
    pattern: re.Pattern[str]


def _group(name: str, title: str, pattern: str) -> TensorGroup:
    return TensorGroup(name, title, re.compile(pattern))


_LAYER = r"^language_model\.layers\.\d+\."

# The first pattern that matches decides.
GROUPS: tuple[TensorGroup, ...] = (
    _group("attention", "decoder attention projections",
           _LAYER + r"self_attn\.[qkvo]_proj\.weight$"),
    _group("mlp", "decoder MLPs", _LAYER + r"mlp\.(gate|up|down)_proj\.weight$"),
    _group("experts", "experts",
           _LAYER + r"experts\.switch_glu\.(gate|up|down)_proj\.weight$"),
    _group("router", "the experts' router", _LAYER + r"router\.proj\.weight$"),
    _group("embedding", "tied embedding and output layer",
           r"^language_model\.embed_tokens\.weight$"),
    _group("ple_table", "per-layer embedding table",
           r"^language_model\.embed_tokens_per_layer\.weight$"),
    _group("ple_projections", "per-layer embedding projections",
           r"^language_model\.(per_layer_model_projection|layers\.\d+\."
           r"(per_layer_input_gate|per_layer_projection))\.weight$"),
    _group("vision", "vision tower", r"^vision_tower\..*\.linear\.weight$"),
    _group("audio", "audio tower",
           r"^audio_tower\.(.*\.)?(linear|input_proj_linear|output_proj)\.weight$"),
    _group("vision_projector", "projector of the vision tower",
           r"^embed_vision\.embedding_projection\.weight$"),
    _group("audio_projector", "projector of the audio tower",
           r"^embed_audio\.embedding_projection\.weight$"),
    _group("rest", "norms, scalars, convolutions, positions", r""),
)  # fmt: skip

UNPACKED = GROUPS[-1]
NAMES = tuple(group.name for group in GROUPS[:-1])


def group_of(path: str) -> TensorGroup:
    """The group of a tensor, by its path in our modules (``language_model.layers.0.…``)."""
    return next(group for group in GROUPS if group.pattern.search(path))
