"""How long a reply took and how fast it came."""

import time
from dataclasses import dataclass

import mlx.core as mx


@dataclass(frozen=True)
class Stats:
    """Figures of one reply, so far or in the end. Times are seconds, rates tokens a second.

    ``prompt_tokens`` is the length of the whole prompt, ``prefilled_tokens`` the part that was
    not in the cache already. ``time_to_first_token`` counts from the request, reading and
    preparing the media included; ``peak_memory`` is the most MLX has held in this process, in
    bytes.
    """

    prompt_tokens: int
    prefilled_tokens: int
    prefill_seconds: float
    generated_tokens: int
    decode_seconds: float
    time_to_first_token: float
    peak_memory: int

    @property
    def prefill_tps(self) -> float:
        """Rate at which the part of the prompt was read that was not in the cache."""
        return _rate(self.prefilled_tokens, self.prefill_seconds)

    @property
    def decode_tps(self) -> float:
        """Rate after the first token, which prefill pays for."""
        return _rate(self.generated_tokens - 1, self.decode_seconds)


class Stopwatch:
    """Takes the times of one reply; started when made."""

    def __init__(self, prompt_tokens: int, prefilled_tokens: int, requested: float):
        self._prompt, self._prefilled = prompt_tokens, prefilled_tokens
        self._requested, self._start = requested, time.perf_counter()
        self._first = self._last = self._start
        self._generated = 0

    def token(self) -> None:
        """Note that a token has arrived."""
        self._last = time.perf_counter()
        self._generated += 1
        if self._generated == 1:
            self._first = self._last

    def stats(self) -> Stats:
        return Stats(
            prompt_tokens=self._prompt,
            prefilled_tokens=self._prefilled,
            prefill_seconds=self._first - self._start,
            generated_tokens=self._generated,
            decode_seconds=self._last - self._first,
            time_to_first_token=self._first - self._requested,
            peak_memory=mx.get_peak_memory(),
        )


def _rate(tokens: int, seconds: float) -> float:
    return tokens / seconds if tokens > 0 and seconds > 0 else 0.0
