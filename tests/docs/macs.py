"""README's table: which model for which Mac, from the sizes of our recipes and of the cache.

    python -m tests.docs.macs

A model counts as fitting when weights in use and the cache of one conversation take at most two
thirds of the machine's memory; the rest is for activations, the system and everything else.
"""

from functools import cache

from gemma4_convert.plan import ConversionPlan, plan_of_config
from gemma4_convert.recipe import load_recipe
from gemma4_mlx.memory import contexts
from tests.docs.arithmetic import MODELS, Model
from tests.docs.pages import ROOT, between_marks, table, write

PAGE = ROOT / "README.md"
GIB = 2**30
SIZES = (8, 16, 24, 32, 48, 64, 128)
SHARE = 2 / 3
# From the best to the smallest. The first that leaves room for this context is taken.
RECIPES = ("8bit", "balanced", "small")
WORTHWHILE = 32_768


@cache
def plan(model: Model, recipe: str) -> ConversionPlan:
    return plan_of_config(model.alias, model.config, load_recipe(recipe))


def in_use(model: Model, recipe: str, context: int) -> int:
    """Bytes of the weights, towers with them and a per-layer table on flash, and of the cache."""
    return plan(model, recipe).bytes_in_use + model.kept(context)


def longest(model: Model, recipe: str, gibibytes: int) -> int | None:
    """The longest of the contexts worth showing that fits."""
    room = SHARE * gibibytes * GIB
    fitting = [n for n in contexts(model.text) if in_use(model, recipe, n) <= room]
    return max(fitting, default=None)


def choice(model: Model, gibibytes: int) -> tuple[str, int] | None:
    """Recipe and context for this Mac; None where not even the smallest fits."""
    for recipe in RECIPES:
        context = longest(model, recipe, gibibytes)
        if context is not None and (context >= WORTHWHILE or recipe == RECIPES[-1]):
            return recipe, context
    return None


def cell(model: Model, gibibytes: int) -> str:
    chosen = choice(model, gibibytes)
    if chosen is None:
        return "–"
    recipe, context = chosen
    return f"`{recipe}`, {context // 1024}K: {in_use(model, recipe, context) / 1e9:.1f} GB"


def text() -> str:
    """The table alone."""
    rows = [[f"{size} GB", *(cell(model, size) for model in MODELS)] for size in SIZES]
    return table(["memory", *(model.name for model in MODELS)], rows)


def page() -> str:
    """README with the table as it is now."""
    return between_marks(PAGE.read_text(encoding="utf-8"), "macs", text())


if __name__ == "__main__":
    write(PAGE, page())
