"""The table of parity figures: ``python -m tests.parity [--live] [--write README.md]``.

Each row compares our logits and greedy tokens with transformers' on a tiny model of a family
whose every learned tensor is random; "chunked" and "batched" compare our own one pass with the
same prompt in pieces and in a left-padded batch. ``--live`` runs transformers on larger models
instead of reading the goldens. ``--write`` puts the table between the marks in a file.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

if __package__ in (None, ""):  # run as a file: the checkout is not on the path yet
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from gemma4_mlx.model import Gemma4Model
from tests import goldens
from tests.reference import families, ours
from tests.reference.inputs import Inputs, case_names, left_pad, make_case

BEGIN, END = "<!-- parity:begin -->", "<!-- parity:end -->"
LIVE_SEED = 2026
_HEADER = (
    "| model | input | tokens | max abs. logit difference | 64 greedy tokens | chunked | batched |",
    "|---|---|---:|---:|---|---:|---:|",
)


class Row(NamedTuple):
    """One line of the table."""

    family: str
    case: str
    tokens: int
    logits: float
    greedy: bool
    chunked: float
    batched: float

    def markdown(self) -> str:
        same = "equal" if self.greedy else "**differ**"
        numbers = f"{self.logits:.1e} | {same} | {self.chunked:.1e} | {self.batched:.1e}"
        return f"| {families.TITLES[self.family]} | {self.case} | {self.tokens} | {numbers} |"


def golden_rows() -> Iterator[Row]:
    """Against what is committed; needs no torch."""
    for family in families.FAMILIES:
        model = ours.load_float32(goldens.checkpoint(family))
        for case in case_names(family):
            inputs = goldens.inputs(family, case)
            expected, tokens = goldens.logits(family, case), goldens.greedy(family, case)
            yield _measure(model, family, case, inputs, expected, tokens)


def live_rows() -> Iterator[Row]:
    """Against transformers as installed, on larger models with the released head sizes."""
    from tests.reference import transformers_side

    for family in families.FAMILIES:
        config = families.raw_config(family, larger=True)
        with tempfile.TemporaryDirectory() as folder:
            theirs = transformers_side.make_checkpoint(config, Path(folder), LIVE_SEED)
            model = ours.load_float32(Path(folder))
            for case in case_names(family):
                inputs = make_case(config, case, LIVE_SEED)
                expected = transformers_side.reference_logits(theirs, inputs)
                tokens, _ = transformers_side.reference_greedy(theirs, inputs)
                yield _measure(model, family, case, inputs, expected, tokens[0].tolist())


def _measure(
    model: Gemma4Model,
    family: str,
    case: str,
    inputs: Inputs,
    expected: np.ndarray,
    tokens: list[int],
) -> Row:
    found = ours.logits(model, inputs)
    length = found.shape[1]
    chunked = max(
        ours.difference(ours.chunked_logits(model, inputs, [size] * length), found)
        for size in (1, 3, 7, model.config.text.sliding_window)
    )
    longer = dict(inputs)
    text = np.arange(17)[None] % 100 + families.FIRST_TEXT_ID
    for name, extra in (("input_ids", text), ("attention_mask", text * 0 + 1)):
        longer[name] = np.concatenate([inputs[name], extra], axis=1)
    longer["mm_token_type_ids"] = np.pad(inputs["mm_token_type_ids"], ((0, 0), (0, 17)))
    batch = ours.logits(model, left_pad([inputs, longer]))
    batched = ours.difference(ours.real_tokens(batch, 0, length), found[0])
    same = ours.greedy(model, inputs, len(tokens)) == [tokens]
    return Row(family, case, length, ours.difference(found, expected), same, chunked, batched)


def table(rows: list[Row], live: bool) -> str:
    """The figures in a sentence, and folded below it the Markdown table."""
    versions = goldens.meta(families.FAMILIES[0])["versions"]
    if live:
        from tests.reference.transformers_side import versions as installed

        versions = installed()
    size = "larger models with the released head sizes" if live else "the committed tiny models"
    told = (
        f"float32 on both sides, {size}, every learned tensor random; transformers "
        f"{versions['transformers']}, torch {versions['torch']}."
    )
    equal = sum(row.greedy for row in rows)
    largest = max(row.logits for row in rows)
    said = (
        f"The largest difference is {largest:.1e}, and {equal} of {len(rows)} replies of 64 greedy "
        "tokens are equal."
    )
    fold = "<details><summary>Every kind of input, model by model</summary>"
    return "\n".join(
        [said, "", fold, "", *_HEADER, *(r.markdown() for r in rows), "", told, "", "</details>"]
    )


def write(file: Path, content: str) -> None:
    """Replace what stands between the marks in a file."""
    text = file.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        raise SystemExit(f"{file} has no {BEGIN} … {END}: add the two marks where the table goes")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    file.write_text(f"{before}{BEGIN}\n{content}\n{END}{after}", encoding="utf-8")


def main() -> None:
    """Measure, print, and write if asked to; exits 1 when a figure is out of bounds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--live", action="store_true", help="run transformers instead of goldens")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the table into this file")
    options = parser.parse_args()
    rows = list(live_rows() if options.live else golden_rows())
    content = table(rows, options.live)
    print(content)
    if options.write:
        write(options.write, content)
    bad = [r for r in rows if r.logits > 1e-3 or not r.greedy or max(r.chunked, r.batched) > 1e-3]
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
