"""How many parameters a Gemma 4 model has, by component, and what its published sizes count.

All of it is worked out from config.json; no figure is written down here.

**Total**: everything in Google's files, as the hub counts it. That is every tensor the model uses
and the key and value tensors of layers that borrow another's (in the files of E2B and E4B, used by
nothing), but no clip bound: to the hub, a tensor without dimensions has no parameters. The model
cards say 5.1B for E2B and 8B for E4B; for the big models they give the decoder alone, without the
vision tower: 25.2B and 30.7B.

**Effective** (the E of E2B and E4B): the decoder without its per-layer embedding table. A table
is looked up, not multiplied with, so it may stay on flash; towers and borrowed tensors do not
count. E2B has 2.28 billion (published as 2.3), E4B 4.64 billion (published as 4.5).

**Active** (the A of 26B A4B): the decoder with only the experts that a token is sent to, 8 of 128:
3.82 billion (published as 3.8), the embedding and the dense MLPs beside the experts included.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from gemma4_mlx.config import Gemma4Config
from gemma4_mlx.tensor_shapes import borrowed_shapes, tensor_shapes

_LAYER = r"language_model\.layers\.\d+\."

# Component → the paths of its tensors. The first pattern that matches decides.
COMPONENTS: Mapping[str, re.Pattern[str]] = {
    "embedding": re.compile(r"language_model\.embed_tokens\."),
    "ple_table": re.compile(r"language_model\.embed_tokens_per_layer\."),
    "ple_projections": re.compile(rf"(language_model\.|{_LAYER})(post_)?per_layer_"),
    "attention": re.compile(_LAYER + r"self_attn\."),
    "mlp": re.compile(_LAYER + r"mlp\."),
    "experts": re.compile(_LAYER + r"experts\."),
    "router": re.compile(_LAYER + r"router\."),
    "norms": re.compile(r"language_model\."),
    "vision": re.compile(r"vision_tower\."),
    "audio": re.compile(r"audio_tower\."),
    "projectors": re.compile(r"embed_(vision|audio)\."),
}
_OUTSIDE_DECODER = ("vision", "audio", "projectors")


@dataclass(frozen=True)
class Anatomy:
    """Parameters by component, in the order of ``COMPONENTS``, without those a model lacks.

    ``borrowed`` counts key and value tensors that the files hold and nothing uses. ``clip_bounds``
    are among the towers' parameters. ``expert_share`` is the part of the experts that one token is
    sent to.
    """

    components: Mapping[str, int]
    borrowed: int
    clip_bounds: int
    expert_share: float

    @property
    def total(self) -> int:
        """All parameters in the files, as the hub counts them."""
        return sum(self.components.values()) + self.borrowed - self.clip_bounds

    @property
    def decoder(self) -> int:
        """The language model without towers and projectors, its per-layer table included."""
        return sum(count for name, count in self.components.items() if name not in _OUTSIDE_DECODER)

    @property
    def effective(self) -> int | None:
        """The decoder without its per-layer embedding table; None for models that have none."""
        table = self.components.get("ple_table")
        return None if table is None else self.decoder - table

    @property
    def active(self) -> int | None:
        """The decoder with the experts of one token alone; None for models without experts."""
        experts = self.components.get("experts")
        if experts is None:
            return None
        return self.decoder - experts + round(experts * self.expert_share)


def anatomy(config: Gemma4Config, *, borrowed: bool = True) -> Anatomy:
    """The parameters of a model; without ``borrowed`` as in files that leave those tensors out."""
    counts = dict.fromkeys(COMPONENTS, 0)
    shapes = tensor_shapes(config)
    for path, shape in shapes.items():
        counts[component_of(path)] += math.prod(shape)
    text = config.text
    return Anatomy(
        components={name: count for name, count in counts.items() if count},
        borrowed=sum(map(math.prod, borrowed_shapes(config).values())) if borrowed else 0,
        clip_bounds=sum(not shape for shape in shapes.values()),
        expert_share=text.top_k_experts / text.num_experts if text.num_experts else 0.0,
    )


def component_of(path: str) -> str:
    """The component of a tensor, by its path in our modules."""
    return next(name for name, pattern in COMPONENTS.items() if pattern.match(path))
