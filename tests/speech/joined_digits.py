"""Long recordings with known text: spoken digits, joined with gaps of known lengths.

Each part is spoken by one person, as in a conversation. A little noise lies under everything, so
that gaps are not zeros.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import soundfile
import soxr

DATA = Path(__file__).parent / "data"
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SPEAKERS = ("george", "jackson", "nicolas", "theo", "yweweler")
RATE = 16_000
_TURN = 12  # digits before somebody else speaks
_NOISE = 3e-4


@dataclass(frozen=True)
class Joined:
    """Samples (n,) at 16 kHz; ``spans`` are the word, first and last second of each digit."""

    samples: np.ndarray
    spans: list[tuple[str, float, float]]

    @property
    def text(self) -> str:
        return " ".join(word for word, _, _ in self.spans)


@cache
def clips() -> dict[tuple[int, str], list[np.ndarray]]:
    """The single recordings by digit and speaker, 16 kHz, trimmed to what is loud."""
    sound, rate = soundfile.read(DATA / "digits.flac", dtype="float32")
    found: dict[tuple[int, str], list[np.ndarray]] = {}
    for digit, speaker, _, first, last in json.loads((DATA / "digits.json").read_text()):
        clip = soxr.resample(sound[first:last], rate, RATE)
        found.setdefault((digit, speaker), []).append(_trimmed(clip))
    return found


def _trimmed(clip: np.ndarray) -> np.ndarray:
    """Without the silence at both ends, so that a digit's times are those of its sound."""
    energy = np.convolve(np.square(clip), np.ones(160) / 160, "same")
    loud = np.flatnonzero(energy > 0.002 * energy.max())
    return clip[loud[0] : loud[-1] + 1]


def pieces(seed: int, gaps: tuple[float, float]) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Endlessly a digit, its sound, and the silence after it, as long as drawn from ``gaps``."""
    draw = np.random.default_rng(seed)
    while True:
        speaker = SPEAKERS[draw.integers(len(SPEAKERS))]
        for _ in range(_TURN):
            digit = int(draw.integers(10))
            takes = clips()[digit, speaker]
            gap = np.zeros(round(draw.uniform(*gaps) * RATE), np.float32)
            yield digit, takes[draw.integers(len(takes))], gap


def joined(seconds: float, gaps: tuple[float, float], seed: int = 0) -> Joined:
    """Digits for about so long, beginning and ending with a second of silence."""
    still = np.zeros(RATE, np.float32)
    parts, spans, place = [still], [], RATE
    for digit, sound, gap in pieces(seed, gaps):
        spans.append((WORDS[digit], place / RATE, (place + len(sound)) / RATE))
        parts += [sound, gap]
        place += len(sound) + len(gap)
        if place >= seconds * RATE:
            break
    samples = np.concatenate([*parts, still])
    noise = np.random.default_rng(seed + 1).normal(0, _NOISE, len(samples))
    return Joined((samples + noise).astype(np.float32), spans)
