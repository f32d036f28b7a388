"""The table of ``gemma4 convert --plan``: groups, bits, bytes, and memory in use."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from gemma4_cli.units import size, tokens

if TYPE_CHECKING:
    from gemma4_convert.plan import ConversionPlan
    from gemma4_convert.policy import Quantization

CONTEXTS = (4 * 1024, 32 * 1024, 128 * 1024)


def lines(plan: "ConversionPlan", dest: str) -> Iterator[str]:
    """The plan for people."""
    rows = plan.rows()
    wide = max(len(row.title) for row in rows)
    yield f"{plan.source} → {dest}"
    yield f"recipe {plan.recipe.name}: {plan.recipe.description}"
    yield ""
    yield f"{'group':<{wide}}  tensors      parameters   bits        size  packed"
    for row in rows:
        yield _line(
            row.title, wide, row.tensors, row.parameters, row.bits_per_weight, row.nbytes
        ) + _packed(row.packed)
    yield _line(
        "total", wide, len(plan.tensors), plan.parameters, plan.bits_per_weight, plan.total_bytes
    ).rstrip()
    noted = [(row, note) for row in rows for note in row.notes]
    if noted:
        yield ""
        yield from (f"{row.title}: {note}" for row, note in noted)
    yield ""
    yield _memory_title(plan)
    for context, nbytes in memory(plan).items():
        beyond = (
            "" if context <= plan.config.text.max_position_embeddings else " (beyond its limit)"
        )
        yield f"  {tokens(context)} tokens: {size(nbytes)}{beyond}"


def memory(plan: "ConversionPlan") -> dict[int, int]:
    """Bytes in use by context length: the weights, with both towers, and the key-value cache."""
    from gemma4_mlx.memory import kv_cache_bytes

    itemsize = 4 if plan.recipe.dtype == "float32" else 2
    return {
        context: plan.bytes_in_use + kv_cache_bytes(plan.config.text, context, itemsize=itemsize)
        for context in CONTEXTS
    }


def figures(plan: "ConversionPlan") -> dict[str, Any]:
    """The plan for programs; sizes in bytes."""
    return {
        "recipe": plan.recipe.name,
        "bytes": plan.total_bytes,
        "parameters": plan.parameters,
        "bits_per_weight": round(plan.bits_per_weight, 4),
        "groups": [
            {
                "name": row.name,
                "title": row.title,
                "tensors": row.tensors,
                "parameters": row.parameters,
                "bytes": row.nbytes,
                "bits_per_weight": round(row.bits_per_weight, 4),
                "packed": [
                    {"tensors": count, **({} if how is None else how.as_config())}
                    for how, count in row.packed.items()
                ],
                "notes": list(row.notes),
            }
            for row in plan.rows()
        ],
        "memory": {
            "weights": plan.bytes_in_use,
            "on_flash": plan.flash_bytes,
            "contexts": [
                {"tokens": context, "bytes": nbytes} for context, nbytes in memory(plan).items()
            ],
        },
    }


def _line(title: str, wide: int, count: int, parameters: int, bits: float, nbytes: int) -> str:
    return f"{title:<{wide}}{count:>9,}{parameters:>16,}{bits:>7.2f}{size(nbytes):>12}  "


def _packed(packed: "Mapping[Quantization | None, int]") -> str:
    """``4 bits, groups of 64``; how many tensors of each kind where there are several."""
    words = {how: "kept" if how is None else str(how) for how in packed}
    if len(packed) == 1:
        return next(iter(words.values()))
    return "; ".join(f"{count} × {words[how]}" for how, count in packed.items())


def _memory_title(plan: "ConversionPlan") -> str:
    parts = ["weights"]
    if plan.config.vision is not None or plan.config.audio is not None:
        parts.append("towers")
    text = f"memory in use ({', '.join([*parts, 'key-value cache'])}"
    if plan.flash_bytes:
        text += f"; {size(plan.flash_bytes)} stay on flash"
    return f"{text}):"
