"""What every recipe costs on the demo model: `python recipes_table.py --data FSDD/recordings`.

One line a recipe: bytes, bits a weight, KL divergence from the unquantized model, and word error
rate. Both are measured on development recordings through our own layers; KL on the reply that is
right, the word error rate on the reply that comes. `--alone` adds the KL of each tensor group
alone, which shows what a recipe should spend its bits on.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_unflatten

from exam import short_sequences
from examples import Example
from gemma4_convert.convert import convert
from gemma4_convert.recipe import Recipe, load_recipe, plain_recipe, shipped_recipes, unquantized
from gemma4_convert.report import measure
from gemma4_convert.report.samples import RECORDINGS, Sample, reply_sample
from gemma4_convert.report.variants import load_variants
from gemma4_mlx import load, transcribe
from gemma4_mlx.model import Gemma4Model
from gemma4_mlx.processing.processor import Processor
from gemma4_mlx.speech.prompts import speech_prompt
from scores import word_error_rate
from speech import DEV_INDICES, SPEAKERS, UNSEEN_SPEAKER, Clips

PLAIN_BITS = (8, 6, 5, 4, 3)
LANGUAGE = "English"


@dataclass(frozen=True)
class Row:
    """One recipe. ``kl`` is the mean per token in nats, ``agreement`` that of the likeliest token,
    ``errors`` the word error rate on the training speakers, ``unseen`` on another one."""

    recipe: str
    nbytes: int
    bits: float
    kl: float
    agreement: float
    errors: float
    unseen: float
    alone: dict[str, float]

    def line(self) -> str:
        return (
            f"| {self.recipe} | {self.nbytes / 1e6:.2f} MB | {self.bits:.2f} | {self.kl:.5f} "
            f"| {100 * self.agreement:.1f} % | {100 * self.errors:.1f} % "
            f"| {100 * self.unseen:.1f} % |"
        )


HEADING = """\
| recipe | bytes | bits a weight | mean KL | same first choice | word errors | unseen speaker |
|---|---:|---:|---:|---:|---:|---:|"""


def unpack(model: Gemma4Model) -> None:
    """Put plain layers with the same numbers in the place of packed ones.

    MLX's CPU backend multiplies packed matrices several times slower than plain ones.
    """
    plain = []
    for path, module in model.named_modules():
        if isinstance(module, nn.QuantizedLinear | nn.QuantizedEmbedding):
            weight = mx.dequantize(
                module.weight,
                module.scales,
                module.get("biases"),
                group_size=module.group_size,
                bits=module.bits,
                mode=module.mode,
            )
            is_linear = isinstance(module, nn.QuantizedLinear)
            layer = nn.Linear(1, 1, bias="bias" in module) if is_linear else nn.Embedding(1, 1)
            layer.weight = weight
            if "bias" in module:
                layer.bias = module.bias
            plain.append((path, layer))
    model.update_modules(tree_unflatten(plain))


def error_rate(model: Gemma4Model, processor: Processor, examples: Sequence[Example]) -> float:
    """The word error rate of `gemma4 transcribe` on recordings of 30 s and less."""
    heard = [
        transcribe(model, processor, example.audio[0].samples, language=LANGUAGE).text
        for example in examples
    ]
    return word_error_rate(examples, heard)


def replies(processor: Processor, examples: Sequence[Example]) -> list[Sample]:
    """The right transcripts, for the report to compare on."""
    ask = {"type": "text", "text": speech_prompt(LANGUAGE)}
    return [
        reply_sample(
            processor,
            RECORDINGS,
            [{"type": "audio", "audio": example.audio[0].samples}, ask],
            example.answer,
        )
        for example in examples
    ]


def row(
    source: Path,
    recipe: Recipe,
    known: Sequence[Example],
    unseen: Sequence[Example],
    compared: int,
    folder: Path,
) -> Row:
    """Convert, compare on some of the recordings, and transcribe all of them."""
    dest = folder / recipe.name
    plan = convert(source, dest, recipe=recipe).plan
    variants = load_variants(source, dest)
    model, processor = load(dest)
    samples = replies(processor, known[:: -(-len(known) // compared)])
    found = measure(variants, samples)[0]
    unpack(model)
    errors = error_rate(model, processor, known)
    other = error_rate(model, processor, unseen)
    shutil.rmtree(dest)
    return Row(
        recipe.name,
        plan.total_bytes,
        plan.bits_per_weight,
        found.result.mean_kl,
        found.result.agreement,
        errors,
        other,
        {name: figures.mean_kl for name, figures in found.alone.items()},
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", type=Path, required=True, help="folder of {digit}_{speaker}_{n}.wav"
    )
    parser.add_argument("--model", type=Path, default=Path(__file__).with_name("hf"))
    parser.add_argument("--size", type=int, default=200, help="recordings to transcribe a group")
    parser.add_argument("--compared", type=int, default=30, help="of them to compare logits on")
    parser.add_argument(
        "--recipes", nargs="*", help="names or TOML files; else ours and plain ones"
    )
    parser.add_argument("--alone", action="store_true", help="KL of every tensor group alone too")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()

    if args.recipes:
        recipes = [load_recipe(name) for name in args.recipes]
    else:
        recipes = [unquantized(), *shipped_recipes().values(), *map(plain_recipe, PLAIN_BITS)]
    known = short_sequences(Clips(args.data, SPEAKERS, DEV_INDICES), args.size, seed=2)
    unseen = short_sequences(Clips(args.data, (UNSEEN_SPEAKER,), range(5, 50)), args.size, seed=3)
    rows = []
    if not args.json:
        print(HEADING, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for recipe in recipes:
            rows.append(row(args.model, recipe, known, unseen, args.compared, Path(folder)))
            if not args.json:
                print(rows[-1].line(), flush=True)
    if args.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
    elif args.alone:
        names = list(dict.fromkeys(name for row in rows for name in row.alone))
        print(f"\n| mean KL of one group alone | {' | '.join(names)} |")
        print("|---|" + "---:|" * len(names))
        for it in rows:
            shown = (f"{it.alone[name]:.5f}" if name in it.alone else "" for name in names)
            print(f"| {it.recipe} | {' | '.join(shown)} |")


if __name__ == "__main__":
    main()
