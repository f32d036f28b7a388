"""The report: figures by kind of sample and by tensor group, as JSON and as tables."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gemma4_convert.groups import GROUPS
from gemma4_convert.report.divergence import Predictions

_TITLES = {group.name: group.title for group in GROUPS}
_HEADINGS = {"text": "On text", "pictures": "On pictures", "recordings": "On recordings"}


@dataclass(frozen=True)
class Figures:
    """What was measured of one model against the source.

    ``mean_kl`` and ``p99_kl`` are of KL(source ‖ model) per token, in nats; ``agreement`` is the
    share of tokens whose likeliest candidate is the source's; ``perplexity`` is that of the text.
    """

    mean_kl: float
    p99_kl: float
    agreement: float
    perplexity: float

    @classmethod
    def of(cls, source: Predictions, model: Predictions) -> "Figures":
        """From the predictions of the same tokens."""
        return cls(
            float(np.mean(model.kl)),
            float(np.percentile(model.kl, 99)),
            float(np.mean(model.first_choice == source.first_choice)),
            float(np.exp(np.mean(model.surprise))),
        )

    def as_json(self) -> dict[str, float | None]:
        """The figures by name; null for what is no number."""
        named = {
            "mean_kl": self.mean_kl,
            "p99_kl": self.p99_kl,
            "top1_agreement": self.agreement,
            "perplexity": self.perplexity,
        }
        return {name: value if math.isfinite(value) else None for name, value in named.items()}


@dataclass(frozen=True)
class Comparison:
    """The figures on one kind of sample.

    ``alone`` has those of the source with one tensor group of the result, by the group's name,
    for the groups that can matter to this kind.
    """

    kind: str
    tokens: int
    source: Figures
    result: Figures
    alone: Mapping[str, Figures]

    def as_json(self) -> dict[str, Any]:
        return {
            "tokens": self.tokens,
            "source": self.source.as_json(),
            "result": self.result.as_json(),
            "alone": {name: figures.as_json() for name, figures in self.alone.items()},
        }

    def markdown(self) -> str:
        """A heading and a table."""
        rows = [
            ("nothing: the source", self.source),
            ("everything: this model", self.result),
            *((f"only: {_TITLES[name]}", figures) for name, figures in self.alone.items()),
        ]
        lines = [
            f"**{_HEADINGS[self.kind]}**, {self.tokens:,} tokens:",
            "",
            "| converted | mean KL | 99th percentile | same first choice | perplexity |",
            "|---|---:|---:|---:|---:|",
            *(
                f"| {title} | {_small(f.mean_kl)} | {_small(f.p99_kl)} "
                f"| {100 * f.agreement:.1f} % | {_perplexity(f.perplexity)} |"
                for title, f in rows
            ),
        ]
        return "\n".join(lines)


@dataclass(frozen=True)
class Report:
    """What a conversion cost. ``notes`` say what else a reader must know."""

    source: str
    result: str
    comparisons: Sequence[Comparison]
    notes: Sequence[str] = ()

    def on(self, kind: str) -> Comparison:
        """The comparison on "text", "pictures" or "recordings"; KeyError when there is none."""
        return {comparison.kind: comparison for comparison in self.comparisons}[kind]

    def as_json(self) -> dict[str, Any]:
        """Plain data: everything measured, and in which units."""
        return {
            "source": self.source,
            "result": self.result,
            "divergence": "KL(source || result) per token, in nats",
            "activations": "float32",
            "on": {comparison.kind: comparison.as_json() for comparison in self.comparisons},
            "notes": list(self.notes),
        }

    def markdown(self) -> str:
        """The tables, with what the figures mean."""
        explained = (
            "KL(source ‖ result) is the divergence of the predictions for a token, in nats: 0 is "
            'the same. "Same first choice" is how often both find the same token likeliest. '
            '"Only" means the source with nothing but that group converted, which shows what '
            "hurts. Activations were float32 on both sides, so the figures are those of the "
            "stored weights alone."
        )
        parts = [explained, *(comparison.markdown() for comparison in self.comparisons)]
        parts += [f"Note: {note}." for note in self.notes]
        return "\n\n".join(parts) + "\n"


def _small(value: float) -> str:
    """Three digits, whatever the size."""
    if value == 0:
        return "0"
    return f"{value:.1e}" if 0 < value < 1e-4 else f"{value:.3g}"


def _perplexity(value: float) -> str:
    return f"{value:.2f}" if value < 1000 else f"{value:.3g}"
