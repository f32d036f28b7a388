"""Compare a checkpoint with its conversion, and the conversion of every tensor group alone.

A report says what a conversion cost before anyone notices in use, and which group to give more
bits. Neither model is ever in memory as a whole.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import mlx.core as mx
import numpy as np

from gemma4_convert.report.checkpoint_name import checkpoint_name
from gemma4_convert.report.divergence import Asked, Predictions, predictions
from gemma4_convert.report.figures import Comparison, Figures, Report
from gemma4_convert.report.hidden_states import SideBySide
from gemma4_convert.report.samples import KINDS, Sample, make_samples, open_processor
from gemma4_convert.report.variants import RESULT, SOURCE, Variant, load_variants

# What is going on, how much of it is done, and of how much.
Progress = Callable[[str, int, int], None]


def compare(
    source: Path, dest: Path, *, text: str | None = None, progress: Progress | None = None
) -> Report:
    """Measure what the conversion ``dest`` of the checkpoint ``source`` lost.

    On a bundled text and, as far as ``dest`` has towers, on bundled pictures and recordings;
    ``text`` takes the place of the bundled one.

    Raises CheckpointError for damaged checkpoints, two of different models, and one without a
    tokenizer; InputError for an empty text.
    """
    variants = load_variants(source, dest)
    samples, notes = make_samples(open_processor(dest, variants[RESULT].model.config), text)
    comparisons = measure(variants, samples, progress)
    return Report(checkpoint_name(source), checkpoint_name(dest), comparisons, notes)


def measure(
    variants: Mapping[str, Variant], samples: Sequence[Sample], progress: Progress | None = None
) -> list[Comparison]:
    """Compare the models of ``load_variants``, which are taken apart, kind by kind."""
    told = progress or _silent
    cap = variants[SOURCE].model.config.text.final_logit_softcapping
    side_by_side = SideBySide({name: it.model for name, it in variants.items()}, samples)
    states = side_by_side.run(told)

    targets = [sample.targets for sample in samples]
    places = np.split(np.arange(sum(map(len, targets))), np.cumsum([len(t) for t in targets])[:-1])
    asked = {
        name: Asked(
            mx.concatenate(list(hidden.values())),
            np.concatenate([places[index] for index in hidden]),
            variants[name].table,
        )
        for name, hidden in states.items()
        if hidden
    }
    found = predictions(
        asked,
        np.concatenate(targets),
        cap,
        lambda done, total: told("comparing: output layer", done, total),
    )
    comparisons = []
    for kind in KINDS:
        of_kind = [index for index, sample in enumerate(samples) if sample.kind == kind]
        if of_kind:
            mattering = [n for n in found if any(side_by_side.matters(n, i) for i in of_kind)]
            tokens = np.concatenate([places[index] for index in of_kind])
            comparisons.append(_comparison(kind, found, mattering, tokens))
    return comparisons


def _comparison(
    kind: str, found: Mapping[str, Predictions], names: Sequence[str], tokens: np.ndarray
) -> Comparison:
    source = found[SOURCE].at(tokens)
    figures = {name: Figures.of(source, found[name].at(tokens)) for name in names}
    return Comparison(kind, len(tokens), figures.pop(SOURCE), figures.pop(RESULT), alone=figures)


def _silent(message: str, done: int, total: int) -> None:
    pass
