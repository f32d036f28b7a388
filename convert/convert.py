"""A Hugging Face checkpoint, or an unquantized MLX one, becomes an MLX checkpoint.

A recipe and the headers of the source give a plan; the plan is carried out to the letter. Tensors
get our layouts, are packed group by group, renamed as mlx-vlm names them and written in shards;
config.json says how each was packed. The files that belong to the model (tokenizer, template,
processor, generation defaults) come along.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from gemma4_convert.companions import companions
from gemma4_convert.layout import mlx_config
from gemma4_convert.plan import ConversionPlan, make_plan
from gemma4_convert.recipe import Recipe, load_recipe, plain_recipe, unquantized
from gemma4_convert.report.model_card import model_card
from gemma4_convert.writing import as_json, write_conversion
from gemma4_mlx.errors import InputError
from gemma4_mlx.json_files import read_json

# Called with the bytes of the source that are done, and all of them.
Progress = Callable[[int, int], None]
# Called with a sentence that the user should read.
Notice = Callable[[str], None]


@dataclass(frozen=True)
class Conversion:
    """What was written, and the sentences that say what was mended in the files that came along."""

    plan: ConversionPlan
    dest: Path
    mended: tuple[str, ...]


def convert(
    source: Path,
    dest: Path,
    *,
    recipe: Recipe | str | Path | None = None,
    bits: int | None = None,
    group_size: int | None = None,
    mode: str = "affine",
    dtype: str | None = None,
    progress: Progress | None = None,
    notice: Notice | None = None,
    force: bool = False,
) -> Conversion:
    """Convert the checkpoint directory ``source`` into the new directory ``dest``.

    ``recipe`` is a Recipe, the name of a shipped one or the path of a TOML file. Without one,
    ``bits``, ``group_size`` (None: 64, or what the mode implies) and ``mode`` make a plain one,
    and ``bits`` None quantizes nothing. ``dtype`` ("bfloat16", "float16", "float32") is that of
    what is not quantized; None keeps the recipe's, or else the source's. Where a width does not
    suit the group size, the module is packed in smaller groups or kept, and config.json records
    it. ``progress`` is called with the source's bytes that are done and all of them, ``notice``
    with sentences for the user. ``force`` replaces a checkpoint at ``dest``.

    Raises CheckpointError when the source is damaged, of another model or already quantized, and
    InputError for a recipe, bits or groups that do not exist, an unknown dtype, a ``dest`` that
    exists, and a disk without room.
    """
    if recipe is not None and (bits is not None or group_size is not None or mode != "affine"):
        raise InputError("a recipe and plain bits were both asked for: give one of them")
    if isinstance(recipe, Recipe):
        chosen = recipe
    elif recipe is not None:
        chosen = load_recipe(recipe)
    else:
        chosen = unquantized(dtype) if bits is None else plain_recipe(bits, group_size, mode)
    if dtype is not None:
        chosen = replace(chosen, dtype=dtype)
    plan = make_plan(source, chosen)
    return carry_out(plan, dest, progress=progress, notice=notice, force=force)


def carry_out(
    plan: ConversionPlan,
    dest: Path,
    *,
    progress: Progress | None = None,
    notice: Notice | None = None,
    force: bool = False,
) -> Conversion:
    """Write a plan and the files that belong to the model; errors as of ``convert``."""
    others = companions(plan.source, plan.config)
    raw = others.config(read_json(plan.source / "config.json"))
    config = mlx_config(raw, plan.quantization_config(), plan.recipe.dtype)
    card = model_card(plan).encode()
    files = {**others.files, "config.json": as_json(config), "README.md": card}
    write_conversion(plan, dest, files, progress=progress, notice=notice, force=force)
    return Conversion(plan, dest, others.mended)
