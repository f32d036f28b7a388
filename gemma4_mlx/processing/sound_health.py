"""What is wrong with the samples of a recording: broken, clipped, beyond full scale.

Each is counted while the sound passes by, and told once at the end.
"""

import numpy as np

_ABSURD = 2.0**32  # no scale that programs confuse with 1.0 is larger; damaged floats are
_SILENCE = 1e-3
_FULL_SCALE = 0.999
_CLIPPED = 0.01  # share of the sound at full scale from which on it is clipped, not just loud
# Lossy codecs overshoot full scale a little; floats far beyond it were never clipped at it.
_OVERSHOOT = 1.25


class SoundHealth:
    """Counts over the blocks of a recording whose first sample lies at ``start`` seconds."""

    def __init__(self, rate: float, start: float) -> None:
        self._rate, self._start = rate, start
        self._samples = self._broken = self._sounding = self._full = 0
        self._read = 0
        self._first_broken = 0.0
        self._highest = 0.0
        self._peak = 1.0

    @property
    def all_broken(self) -> bool:
        """Whether no sample was a number."""
        return 0 < self._broken == self._samples

    def repaired(self, block: np.ndarray) -> np.ndarray:
        """Decoded samples (n, channels) with silence for what is no number."""
        level = np.abs(block)
        broken = ~(level <= _ABSURD)  # NaN compares as false
        count = int(broken.sum())
        if count:
            if not self._broken:
                at = self._read + int(np.argmax(broken.any(axis=1)))
                self._first_broken = self._start + at / self._rate
            self._broken += count
            block = np.where(broken, np.float32(0), block)
            level = np.abs(block)
        self._read += len(block)
        self._samples += block.size
        self._sounding += int((level > _SILENCE).sum())
        self._full += int((level >= _FULL_SCALE).sum())
        self._highest = max(self._highest, float(level.max(initial=0.0)))
        return block

    def turned_down(self, mono: np.ndarray) -> np.ndarray:
        """Samples within full scale: divided by the highest peak so far, when that exceeds it."""
        self._peak = max(self._peak, float(np.abs(mono).max(initial=0.0)))
        return mono / np.float32(self._peak) if self._peak > 1 else mono

    def notices(self, name: str) -> list[str]:
        """What there is to say of all that passed by."""
        said = []
        if self._broken:
            said.append(
                f"{name}: {self._broken} samples are NaN or infinite, the first at "
                f"{self._first_broken:.1f} s; they are heard as silence"
            )
        if self._full > _CLIPPED * self._sounding and self._highest <= _OVERSHOOT:
            share = self._full / self._sounding
            said.append(
                f"{name}: {share:.0%} of the sound lies at full scale, it is clipped: words may "
                "be wrong"
            )
        if self._peak > 1:
            said.append(f"{name}: peaks at {self._peak:.3g} times full scale, turned down to it")
        return said
