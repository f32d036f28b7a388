"""What docs/CLAIMS.md counts, from the released configs and the library's own tables."""

import math
from dataclasses import dataclass
from functools import cached_property

from gemma4_mlx.anatomy import Anatomy, anatomy
from gemma4_mlx.config import Gemma4Config, TextConfig
from gemma4_mlx.layer_plan import LayerPlan, plan_layers
from gemma4_mlx.memory import kv_cache_bytes
from gemma4_mlx.processing.patches import target_size
from gemma4_mlx.processing.settings import ImageSettings
from gemma4_mlx.released import RELEASED, released_config
from gemma4_mlx.tensor_shapes import tensor_shapes

ITEMSIZE = 2  # bfloat16
NAMES = {"e2b": "E2B", "e4b": "E4B", "26b": "26B A4B", "31b": "31B"}


@dataclass(frozen=True)
class Model:
    """A released model, by its alias."""

    alias: str

    @cached_property
    def config(self) -> Gemma4Config:
        return Gemma4Config.from_dict(released_config(self.alias))

    @property
    def name(self) -> str:
        return NAMES[self.alias]

    @property
    def text(self) -> TextConfig:
        return self.config.text

    @cached_property
    def plan(self) -> tuple[LayerPlan, ...]:
        return plan_layers(self.text)

    @cached_property
    def parameters(self) -> Anatomy:
        return anatomy(self.config)

    def part(self, *components: str) -> int:
        return sum(self.parameters.components.get(name, 0) for name in components)

    def matrices(self) -> int:
        """The decoder without its embeddings: what is multiplied with for every token."""
        return self.parameters.decoder - self.part("embedding", "ple_table")

    def vision_positions(self) -> int:
        """Of the vision tower's parameters those in its table of positions."""
        shapes = tensor_shapes(self.config)
        return math.prod(shapes["vision_tower.patch_embedder.position_embedding_table"])

    def kinds(self) -> str:
        """Local layers to one global layer, by where the global ones stand."""
        places = [row.index for row in self.plan if row.is_global]
        gaps = {after - before for before, after in zip([-1, *places], places, strict=False)}
        assert len(gaps) == 1 and places[-1] == self.plan[-1].index
        return f"{gaps.pop() - 1}:1"

    def queries_per_key(self, *, is_global: bool) -> int:
        row = next(row for row in self.plan if row.is_global == is_global)
        return row.num_heads // row.num_kv_heads

    def kept(self, context: int) -> int:
        """Bytes of the cache as it is kept here."""
        return kv_cache_bytes(self.text, context)

    def cache(
        self,
        context: int,
        *,
        windows: bool = True,
        sharing: bool = True,
        one: float = 2.0,
        width: int | None = None,
    ) -> float:
        """Bytes of a cache that is laid out otherwise.

        ``windows``: local layers keep no more than their window. ``sharing``: layers that borrow
        keep nothing. ``one``: tensors a K=V layer keeps, 2 for keys and values apart. ``width``:
        of all heads, instead of the layer's own.
        """
        total = 0.0
        for row in self.plan:
            if sharing and row.kv_donor is not None:
                continue
            tokens = min(context, row.window) if windows and row.window else context
            tensors = one if row.k_eq_v else 2.0
            total += tokens * row.num_kv_heads * (width or row.head_dim) * tensors * ITEMSIZE
        return total

    def saved_by_sharing(self, context: int) -> float:
        return self.cache(context, sharing=False) - self.cache(context)

    def value_projections(self) -> int:
        """Weights that K=V layers do without."""
        hidden = self.text.hidden_size
        return sum(row.num_kv_heads * row.head_dim * hidden for row in self.plan if row.k_eq_v)

    def wide_mlps(self) -> int:
        """Weights that MLPs have beyond the width in the config."""
        extra = sum(row.mlp_width - self.text.intermediate_size for row in self.plan)
        return 3 * extra * self.text.hidden_size

    def attention_of(self, *, is_global: bool) -> int:
        """Weights of the first layer of a kind that has keys and values of its own."""
        row = next(row for row in self.plan if row.is_global == is_global)
        tensors = 1 if row.k_eq_v else 2
        heads = 2 * row.num_heads + tensors * row.num_kv_heads
        return heads * row.head_dim * self.text.hidden_size


E2B, E4B, A4B, BIG = MODELS = tuple(Model(alias) for alias in RELEASED)


def image_tokens(height: int, width: int, budget: int) -> int:
    """Soft tokens of a picture."""
    settings = ImageSettings(max_soft_tokens=budget)
    side = settings.patch_size * settings.pooling_kernel_size
    rows, columns = target_size(height, width, settings)
    return rows * columns // side**2
