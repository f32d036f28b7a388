"""How far the predictions of several models lie from the source's, over the whole vocabulary.

The output layer is applied to blocks of the vocabulary, and each block of the embedding is read
once: the softmax is summed up as it comes, as flash attention does (Milakov and Gimelshein, 2018).
For the KL divergence

    KL(p ‖ q) = Σ p (a − b) − log Σ exp a + log Σ exp b,    p = softmax a, q = softmax b

the same is done to the sum of exp a · (a − b). Sums over blocks are float64, on the host.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import mlx.core as mx
import numpy as np

from gemma4_convert.report.streamed_table import StreamedTable
from gemma4_convert.report.variants import SOURCE
from gemma4_mlx.text.decoder import soft_cap

# Numbers of a block of logits, or of the embedding for it, at most.
_BLOCK_SIZE = 2**24
_SMALLEST_BLOCK = 256


@dataclass(frozen=True)
class Predictions:
    """What one model makes of T tokens, each (T,).

    ``kl`` is KL(source ‖ model) in nats, ``first_choice`` the likeliest token's id, ``surprise``
    the negative log likelihood, in nats, of the token that came.
    """

    kl: np.ndarray
    first_choice: np.ndarray
    surprise: np.ndarray

    def at(self, places: np.ndarray) -> "Predictions":
        """Those for some of the tokens."""
        return Predictions(self.kl[places], self.first_choice[places], self.surprise[places])

    def replaced(self, places: np.ndarray, by: "Predictions") -> "Predictions":
        """Other predictions for the tokens at ``places``, the same for the rest."""
        columns = (
            (self.kl, by.kl),
            (self.first_choice, by.first_choice),
            (self.surprise, by.surprise),
        )
        merged = [mine.copy() for mine, _ in columns]
        for column, (_, theirs) in zip(merged, columns, strict=True):
            column[places] = theirs
        return Predictions(*merged)


@dataclass(frozen=True)
class Asked:
    """A model's last hidden states (T, hidden) at the tokens ``places`` (T,) of all that count."""

    hidden: mx.array
    places: np.ndarray
    table: StreamedTable


def predictions(
    asked: Mapping[str, Asked],
    targets: np.ndarray,
    cap: float | None,
    progress: Callable[[int, int], None],
) -> dict[str, Predictions]:
    """The predictions of every model for all of ``targets`` (N,).

    Of the tokens that a model was not asked about, its predictions are the source's. ``cap`` is
    the soft cap of the logits. ``progress`` hears how many rows of the vocabulary are done.
    """
    source = asked[SOURCE]
    vocabulary = source.table.height
    width = max(source.hidden.shape[-1], len(targets))
    step = max(_SMALLEST_BLOCK, _BLOCK_SIZE // width)
    sums = {name: _Sums(targets[model.places]) for name, model in asked.items()}
    for start in range(0, vocabulary, step):
        stop = min(start + step, vocabulary)
        blocks = {model.table: model.table.block(start, stop) for model in asked.values()}
        ours = _logits(source.hidden, blocks[source.table], cap)
        for name, model in asked.items():
            theirs = _logits(model.hidden, blocks[model.table], cap)
            sums[name].add(ours[mx.array(model.places)], theirs, start)
        progress(stop, vocabulary)
    base = sums[SOURCE].predictions()
    return {
        name: base.replaced(model.places, sums[name].predictions()) for name, model in asked.items()
    }


def _logits(hidden: mx.array, rows: mx.array, cap: float | None) -> mx.array:
    logits = hidden @ rows.T
    return logits if cap is None else soft_cap(logits, cap)


class _Softmax:
    """A softmax over logits that come in blocks: the largest so far, and sums relative to it."""

    def __init__(self, count: int):
        self.peak = np.full(count, -np.inf)
        self.total = np.zeros(count)
        self.weighted = np.zeros(count)

    def add(self, peak: np.ndarray, total: np.ndarray, weighted: np.ndarray | float = 0.0) -> None:
        """One block's maximum, Σ exp(l − peak) and Σ exp(l − peak) · weight, each (T,)."""
        new = np.maximum(self.peak, peak)
        before, now = np.exp(self.peak - new), np.exp(peak - new)
        self.total = self.total * before + total * now
        self.weighted = self.weighted * before + weighted * now
        self.peak = new

    @property
    def log_total(self) -> np.ndarray:
        return self.peak + np.log(self.total)


class _Sums:
    """What is summed up for one model while the vocabulary passes by."""

    def __init__(self, targets: np.ndarray):
        self.targets = targets
        self.ours, self.theirs = _Softmax(len(targets)), _Softmax(len(targets))
        self.first_choice = np.zeros(len(targets), dtype=np.int64)
        self.of_target = np.zeros(len(targets))

    def add(self, ours: mx.array, theirs: mx.array, start: int) -> None:
        """A block of logits (T, rows), of the tokens from ``start`` on."""
        # 1. One pass over the block, in float32.
        our_peak, their_peak = ours.max(axis=-1), theirs.max(axis=-1)
        weights = mx.exp(ours - our_peak[:, None])
        cross = (weights * (ours - theirs)).sum(axis=-1)
        total = mx.exp(theirs - their_peak[:, None]).sum(axis=-1)
        choice = mx.argmax(theirs, axis=-1)
        column = np.clip(self.targets - start, 0, theirs.shape[-1] - 1)
        of_target = mx.take_along_axis(theirs, mx.array(column)[:, None], axis=-1)[:, 0]
        here = (our_peak, weights.sum(axis=-1), cross, their_peak, total, choice, of_target)
        mx.eval(here)
        our_top, our_sum, our_cross, top, their_sum, chosen, given = map(np.array, here)

        # 2. Joined with the blocks before. Of equal logits the first token counts.
        better = top > self.theirs.peak
        self.first_choice[better] = chosen[better] + start
        inside = column == self.targets - start
        self.of_target[inside] = given[inside]
        self.ours.add(our_top.astype(np.float64), our_sum, our_cross)
        self.theirs.add(top.astype(np.float64), their_sum)

    def predictions(self) -> Predictions:
        ours, theirs = self.ours, self.theirs
        kl = ours.weighted / ours.total - ours.log_total + theirs.log_total
        # Rounding leaves a divergence of nothing a little beside it; NaN stays NaN.
        return Predictions(
            np.maximum(kl, 0.0), self.first_choice, theirs.log_total - self.of_target
        )
