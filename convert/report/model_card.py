"""The README.md of a conversion, as the hub shows it: what was made of what, and what it cost."""

import re
from collections.abc import Mapping

from gemma4_convert.destination import size
from gemma4_convert.plan import ConversionPlan
from gemma4_convert.policy import Quantization
from gemma4_convert.report.checkpoint_name import checkpoint_name, hub_id
from gemma4_convert.report.figures import Report
from gemma4_mlx.config import Gemma4Config
from gemma4_mlx.hub import SIZES

_HOW_TO_USE = """\
## Use

```
pip install gemma4-mlx
gemma4 chat --model PATH
```

```python
from gemma4_mlx import generate, load

model, processor = load("PATH")
print(generate(model, processor, "Who are you?"))
```

`PATH` is this directory, or its name on the hub. mlx-vlm loads it too, and mlx-lm its text part.
"""


def model_card(plan: ConversionPlan, report: Report | None = None) -> str:
    """The model card of a planned or finished conversion, with the figures when measured."""
    # The name of a directory may be anything ("hf", "checkpoint-500"): it is told, and no title.
    title = hub_id(plan.source) or family(plan.config)
    source = checkpoint_name(plan.source)
    parts = [
        _front_matter(plan),
        f"# {_plain(title)}, {_plain(plan.recipe.name)}\n",
        f"{_plain(source)} in MLX, converted by `gemma4 convert`. Recipe: {_described(plan)}.\n",
        "## What is in it\n",
        _table(plan),
    ]
    if report is not None:
        parts += ["## What the conversion cost\n", report.markdown()]
    return "\n".join([*parts, _HOW_TO_USE])


def family(config: Gemma4Config) -> str:
    """``Gemma 4 E2B`` for a model of a released size, tuned or not; ``Gemma 4`` for others."""
    size = SIZES.get((config.text.hidden_size, config.text.num_hidden_layers))
    return f"Gemma 4 {size}" if size else "Gemma 4"


def _front_matter(plan: ConversionPlan) -> str:
    """The YAML that the hub reads; it knows a base model by its hub id alone."""
    config = plan.config
    packed = any(tensor.quantization is not None for tensor in plan.tensors)
    media = config.vision is not None or config.audio is not None
    base = hub_id(plan.source)
    lines = ["library_name: mlx", "license: apache-2.0"]
    lines += [f"pipeline_tag: {'any-to-any' if media else 'text-generation'}"]
    if base is not None:
        lines += [f"base_model: {base}"]
        lines += ["base_model_relation: quantized"] if packed else []
    lines += ["tags:", "- mlx", "- gemma4"]
    return "\n".join(["---", *lines, "---\n"])


def _described(plan: ConversionPlan) -> str:
    text = plan.recipe.description
    return f"**{_plain(plan.recipe.name)}**" + (f" ({_plain(text)})" if text else "")


def _table(plan: ConversionPlan) -> str:
    """The plan by group, and notes on what is packed otherwise than the recipe asks."""
    rows = plan.rows()
    lines = [
        "| tensors | parameters | packed | bytes |",
        "|---|---:|---|---:|",
        *(
            f"| {r.title} | {r.parameters:,} | {_packed(r.packed)} | {size(r.nbytes)} |"
            for r in rows
        ),
        f"| **all** | {plan.parameters:,} | {plan.bits_per_weight:.2f} bits a weight "
        f"| {size(plan.total_bytes)} |",
    ]
    notes = [f"- {row.title}: {note}" for row in rows for note in row.notes]
    return "\n".join([*lines, *(["", *notes] if notes else []), ""])


def _packed(packed: Mapping[Quantization | None, int]) -> str:
    """``4 bits, groups of 64``; several ways with the number of tensors each."""
    named = {"kept" if how is None else str(how): count for how, count in packed.items()}
    if len(named) == 1:
        return next(iter(named))
    return "; ".join(f"{count} × {how}" for how, count in named.items())


def _plain(text: str) -> str:
    """Text of the user's on one line, with nothing that Markdown would read as its own."""
    return re.sub(r"([\\`*_<>|\[\]])", r"\\\1", " ".join(text.split()))
