"""Windows of sound into text: many at once, and again where the model went round in circles.

Windows of like length are heard together (generation/batch.py), some batches ahead of the first
whose text is wanted. A reply that does not end, or that says more of the same than can be said in
the time (loops.py), is not believed: the window is heard again in two halves, then whole at rising
temperatures, as Whisper does (Radford et al., 2022, section 4.5). What still fails is given as far
as it can be trusted.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

import mlx.core as mx

from gemma4_mlx.generation.batch import generate_rows, whole_reply
from gemma4_mlx.generation.sampling import make_sampler
from gemma4_mlx.generation.stream import reply_limit
from gemma4_mlx.speech.loops import find_loop, without_loop
from gemma4_mlx.speech.transcript import join_texts
from gemma4_mlx.speech.windows import Window, halves

if TYPE_CHECKING:
    from gemma4_mlx.model import Gemma4Model
    from gemma4_mlx.processing.processor import Processor

# More than anybody says, in any language: as many as a second of sound is itself.
_TOKENS_PER_SECOND, _TOKENS_AT_LEAST = 25, 64
_AHEAD = 4  # batches of windows that are sorted by length together
_CHECK_EVERY = 16  # tokens between two looks for a loop
_SHORTEST_HALF = 1.0  # seconds
_TEMPERATURES = (0.4, 0.8)
_SEED = 0  # the same recording gives the same text


@dataclass(frozen=True)
class Heard:
    """What was heard in a window. ``incomplete``: the model did not come to an end of it."""

    text: str
    incomplete: bool = False


class Listener:
    """A model that hears windows, with what it is asked about each."""

    def __init__(
        self,
        model: "Gemma4Model",
        processor: "Processor",
        prompt: str,
        *,
        batch_size: int,
        max_tokens: int | None = None,
        translates: bool = False,
    ):
        self.model, self.processor, self.prompt = model, processor, prompt
        self.batch_size, self.max_tokens, self.translates = batch_size, max_tokens, translates

    def hear(self, windows: Iterable[Window]) -> Iterator[Heard]:
        """What is said in each window, in their order. Windows are taken when they are needed.

        Raises InputError when a window does not fit into the model's context.
        """
        source = iter(windows)
        ahead = 1  # the first text comes soon
        while group := list(islice(source, ahead * self.batch_size)):
            found: dict[int, Heard] = {}
            given = 0
            order = sorted(range(len(group)), key=lambda i: len(group[i].samples))
            for first in range(0, len(order), self.batch_size):
                rows = order[first : first + self.batch_size]
                heard = self._hear_together([group[row] for row in rows])
                found.update(zip(rows, heard, strict=True))
                while given in found:
                    yield found.pop(given)
                    given += 1
            ahead = _AHEAD if self.batch_size > 1 else 1

    def _hear_together(self, windows: Sequence[Window]) -> list[Heard]:
        heard = self._ask(windows)
        for row, window in enumerate(windows):
            # Who set a limit is given what is within it.
            if heard[row].incomplete and self.max_tokens is None:
                heard[row] = self._hear_again(window, heard[row])
        return heard

    def _hear_again(self, window: Window, first: Heard) -> Heard:
        parts = halves(window)
        # A transcript and a translation each cannot be joined.
        if not self.translates and min(part.seconds for part in parts) >= _SHORTEST_HALF:
            in_parts = self._ask(parts)
            if not any(part.incomplete for part in in_parts):
                return Heard(join_texts(part.text for part in in_parts))
        for temperature in _TEMPERATURES:
            (again,) = self._ask([window], temperature)
            if not again.incomplete:
                return again
        return first

    def _ask(self, windows: Sequence[Window], temperature: float = 0.0) -> list[Heard]:
        prompts = [self._inputs(window) for window in windows]
        limits = [
            reply_limit(
                self.model,
                prompt["input_ids"].shape[1],
                self.max_tokens or most_tokens(window.seconds, self.translates),
            )
            for prompt, window in zip(prompts, windows, strict=True)
        ]
        replies = generate_rows(
            self.model,
            prompts,
            make_sampler(self.model.generation_config, temperature, 1.0, 0, _SEED),
            limits=limits,
            stops=[partial(_goes_round, window.seconds) for window in windows],
        )
        return [
            self._read(prompt, ids, window.seconds)
            for prompt, ids, window in zip(prompts, replies, windows, strict=True)
        ]

    def _inputs(self, window: Window) -> dict[str, mx.array]:
        content = [
            {"type": "audio", "audio": window.samples},
            {"type": "text", "text": self.prompt},
        ]
        return self.processor([{"role": "user", "content": content}])

    def _read(self, prompt: dict[str, mx.array], ids: list[int], seconds: float) -> Heard:
        ended = ids[-1] in self.model.generation_config.eos_token_ids
        said = ids[:-1] if ended else ids
        loop = find_loop(said, seconds)
        if loop is not None:
            said = without_loop(said, loop)
        text = whole_reply(self.model, self.processor, prompt, said).text
        return Heard(text, incomplete=loop is not None or not ended)


def _goes_round(seconds: float, ids: list[int]) -> bool:
    return len(ids) % _CHECK_EVERY == 0 and find_loop(ids, seconds) is not None


def most_tokens(seconds: float, translates: bool = False) -> int:
    """How long the reply to so much sound may be."""
    return round(_TOKENS_PER_SECOND * seconds) * (1 + translates) + _TOKENS_AT_LEAST
