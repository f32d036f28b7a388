"""Spoken digit sequences, joined from single recordings of the Free Spoken Digit Dataset.

The dataset (https://github.com/Jakobovski/free-spoken-digit-dataset, CC BY-SA 4.0) holds one
digit a file, `{digit}_{speaker}_{index}.wav`, 8 kHz, trimmed close to the word. A sequence is
built the way a recording of one would arrive: words with pauses between them, at some level, over
some background, through some microphone, stored as 16-bit samples. It is joined at 8 kHz and
resampled to 16 kHz once, as the app resamples a file.

Split: indices 0-4 are the dataset's own test set and are never opened here; 5-9 are the
development set; 10-49 are trained on. One speaker is left out of training altogether.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SPEAKERS = ("george", "jackson", "nicolas", "theo", "yweweler")
UNSEEN_SPEAKER = "lucas"
TRAIN_INDICES = range(10, 50)
DEV_INDICES = range(5, 10)

CLIP_RATE = 8_000
RATE = 16_000
TOKEN_RATE = 25  # audio tokens a second
MAX_SECONDS = 30.0

# (shortest, longest) pause in seconds; a sequence draws one manner of speaking and keeps to it.
PAUSES = {"tight": (0.0, 0.06), "natural": (0.05, 0.4), "slow": (0.3, 1.5), "mixed": (0.0, 1.5)}


def spelled(text: str) -> list[int]:
    """1 + digit for every word; 0 stands for none of them."""
    return [1 + WORDS.index(word) for word in text.split()]


@dataclass(frozen=True)
class Utterance:
    """A 16 kHz float32 waveform, the words in it, separated by single spaces, and the seconds
    each begins and ends at, where they are known."""

    samples: np.ndarray
    text: str
    spans: tuple[tuple[float, float], ...] = ()

    @property
    def seconds(self) -> float:
        return len(self.samples) / RATE


class Clips:
    """The single recordings of some speakers, kept in memory at 8 kHz."""

    def __init__(self, data: Path, speakers: Sequence[str], indices: Sequence[int]) -> None:
        self.speakers = tuple(speakers)
        self.count = len(indices)
        self._waves = {
            (digit, speaker): [
                soundfile.read(data / f"{digit}_{speaker}_{index}.wav", dtype="float32")[0]
                for index in indices
            ]
            for digit in range(10)
            for speaker in self.speakers
        }

    def draw(self, rng: np.random.Generator, digit: int, speaker: str) -> np.ndarray:
        return self._waves[digit, speaker][rng.integers(self.count)]


def resample(samples: np.ndarray) -> np.ndarray:
    """8 kHz to 16 kHz, then through 16-bit integers as a WAV file would store it."""
    wave = soxr.resample(samples, CLIP_RATE, RATE)
    return (np.clip(np.round(wave * 32767), -32768, 32767) / 32768).astype(np.float32)


def join(
    waves: Sequence[np.ndarray], pauses: Sequence[float], lead: float, tail: float
) -> np.ndarray:
    """Words with `pauses` seconds of digital silence between them (one fewer than the words)."""

    def silence(seconds: float) -> np.ndarray:
        return np.zeros(round(seconds * CLIP_RATE), np.float32)

    parts = [silence(lead)]
    for i, wave in enumerate(waves):
        parts += [wave, silence(pauses[i])] if i < len(pauses) else [wave]
    return np.concatenate([*parts, silence(tail)])


def spoken(
    clips: Clips,
    rng: np.random.Generator,
    count: int,
    *,
    augment: bool,
    seconds: float = MAX_SECONDS,
    manner: str | None = None,
    speaker: str | None = None,
) -> Utterance:
    """A sequence of `count` digits (fewer where `seconds` are full), by one or several speakers.

    With `augment` every property that an unknown recording may vary in is varied; without it only
    the speakers, pauses and level are, and the background is digital silence.
    """
    manner = manner or str(rng.choice(list(PAUSES), p=(0.15, 0.45, 0.2, 0.2)))
    low, high = PAUSES[manner]
    one = speaker or (str(rng.choice(clips.speakers)) if rng.random() < 0.6 else None)
    tempo = rng.uniform(0.88, 1.12) if augment and rng.random() < 0.8 else 1.0
    # Few different digits make many repetitions, which are easy to lose count of.
    repeats = augment and rng.random() < 0.15
    choice = rng.choice(10, int(rng.integers(1, 4)), replace=False) if repeats else np.arange(10)
    # A refrain said again and again has to be counted too: what was just said tells no place in it.
    refrain = rng.choice(10, int(rng.integers(2, 9))) if augment and rng.random() < 0.06 else ()
    waves: list[np.ndarray] = []
    digits: list[int] = []
    pauses: list[float] = []
    room = seconds - 0.1
    for _ in range(count):
        digit = int(refrain[len(digits) % len(refrain)] if len(refrain) else rng.choice(choice))
        wave = clips.draw(rng, digit, one or str(rng.choice(clips.speakers)))
        if augment:
            wave = _vary(wave, rng, tempo)
        pause = float(rng.uniform(low, high))
        needed = len(wave) / CLIP_RATE + (pause if waves else 0.0)
        if needed > room:
            break
        room -= needed
        if waves:
            pauses.append(pause)
        waves.append(wave)
        digits.append(digit)
    lead, tail = (float(x) for x in rng.uniform(0, min(0.8, room / 2), 2))
    if rng.random() < 0.1:  # starts or ends on the very first or last sample
        lead, tail = (lead, 0.0) if rng.random() < 0.5 else (0.0, tail)
    wave = join(waves, pauses, lead, tail)
    spans, start = [], lead
    for word, pause in zip(waves, [*pauses, 0.0]):
        end = start + len(word) / CLIP_RATE
        spans.append((start, end))
        start = end + pause
    if augment:
        wave = _recorded(wave, rng)
    else:
        wave = wave * (10 ** (rng.uniform(-20, 0) / 20) / max(np.abs(wave).max(), 1e-4))
    return Utterance(resample(wave), " ".join(WORDS[d] for d in digits), tuple(spans))


def sparse(
    clips: Clips, rng: np.random.Generator, count: int, seconds: float, *, augment: bool
) -> Utterance:
    """A few words somewhere in a long recording that is otherwise silent."""
    short = spoken(clips, rng, count, augment=augment, seconds=seconds)
    lead = float(rng.uniform(0, seconds - short.seconds)) if seconds > short.seconds else 0.0
    tail = max(0.0, seconds - short.seconds - lead)
    wave = np.concatenate(
        [
            np.zeros(int(lead * RATE), np.float32),
            short.samples,
            np.zeros(int(tail * RATE), np.float32),
        ]
    )
    if augment and rng.random() < 0.5:
        wave = wave + _background(rng, len(wave), RATE) * 10 ** (rng.uniform(-70, -40) / 20)
    spans = tuple((start + lead, end + lead) for start, end in short.spans)
    return Utterance(wave.astype(np.float32), short.text, spans)


def wordless(rng: np.random.Generator, seconds: float) -> Utterance:
    """Silence or noise: the right transcript is empty."""
    samples: np.ndarray = np.zeros(int(seconds * CLIP_RATE), np.float32)
    if rng.random() < 0.7:
        samples = _background(rng, len(samples), CLIP_RATE) * 10 ** (rng.uniform(-70, -20) / 20)
    return Utterance(resample(samples), "")


def _vary(wave: np.ndarray, rng: np.random.Generator, tempo: float) -> np.ndarray:
    """One word spoken a little faster or slower, louder or softer than its neighbours."""
    speed = tempo * rng.uniform(0.97, 1.03)
    if tempo != 1.0:
        wave = soxr.resample(wave, CLIP_RATE * speed, CLIP_RATE, quality="MQ")
    return wave * np.float32(10 ** (rng.uniform(-4, 4) / 20))


def _recorded(wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The microphone and the room: a tilted spectrum, a background, and some level."""
    if rng.random() < 0.5:
        wave = _equalise(wave, rng)
    peak = max(float(np.abs(wave).max()), 1e-4)
    wave = wave / peak
    if rng.random() < 0.6:
        wave = wave + _background(rng, len(wave), CLIP_RATE) * 10 ** (rng.uniform(-65, -28) / 20)
    loud = rng.uniform(-30, 1) if rng.random() < 0.9 else rng.uniform(0, 6)
    return np.clip(wave * 10 ** (loud / 20), -1, 1).astype(np.float32)


def _equalise(wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A smooth random gain over frequency, within 8 dB, and sometimes a narrower band."""
    spectrum = np.fft.rfft(wave)
    hertz = np.linspace(0, CLIP_RATE / 2, len(spectrum))
    decibels = np.interp(hertz, (0, 300, 800, 1800, 4000), rng.uniform(-4, 4, 5))
    if rng.random() < 0.3:
        decibels -= 24 * np.clip((hertz - rng.uniform(2800, 4000)) / 600, 0, 1)
    if rng.random() < 0.3:
        decibels -= 24 * np.clip((rng.uniform(50, 250) - hertz) / 100, 0, 1)
    return np.fft.irfft(spectrum * 10 ** (decibels / 20), n=len(wave)).astype(np.float32)


def _background(rng: np.random.Generator, length: int, rate: int) -> np.ndarray:
    """Noise with a random spectral slope, or mains hum with some overtones; peak about 1."""
    if rng.random() < 0.25:
        time = np.arange(length) / rate
        base = rng.choice((50.0, 60.0))
        hum = sum(
            rng.uniform(0, 1) / k * np.sin(2 * np.pi * base * k * time + rng.uniform(0, 6.28))
            for k in range(1, 6)
        )
        return np.asarray(hum, np.float32)
    spectrum = np.fft.rfft(rng.standard_normal(length))
    hertz = np.linspace(20, rate / 2, len(spectrum))
    noise = np.fft.irfft(spectrum * hertz ** rng.uniform(-1, 0), n=length)
    return (noise / max(np.abs(noise).max(), 1e-9)).astype(np.float32)
