"""A recording opened and not yet read: its sound in blocks, as its decoder gives them.

Files of libsndfile, containers and arrays are decoded each in their own way; which part of the
sound is wanted, what a decoder's error means and whether all that was promised came is the same
for all of them, and stands here. A recording for a chat is refused when it is damaged; one of
hours, to be transcribed, is read as far as it goes.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from gemma4_mlx.errors import InputError, MediaError


@dataclass
class Remarks:
    """What there is to say of a recording; ``strict`` refuses one that is damaged."""

    strict: bool
    notices: list[str] = field(default_factory=list)
    damaged: bool = False

    def note(self, text: str) -> None:
        """Say what was done to the sound."""
        self.notices.append(text)

    def damage(self, text: str) -> None:
        """Say what is wrong with the recording: MediaError where damage is refused."""
        if self.strict:
            raise MediaError(text)
        self.damaged = True
        self.notices.append(text)


@dataclass(frozen=True)
class Track:
    """The sound of a recording, (n, channels) float32 at ``rate`` Hz.

    ``decode`` gives the sound in blocks, each with the index of its first sample, beginning at the
    sample asked for or before it. ``frames`` is the length that the header promises, None where it
    does not tell; ``slack`` how far a sound recording may fall short of it.
    """

    name: str
    rate: float
    channels: int
    frames: int | None
    decode: Callable[[int], Iterator[tuple[int, np.ndarray]]]
    slack: float = 0

    def part(self, start: float, end: float | None, remarks: Remarks) -> Iterator[np.ndarray]:
        """The sound from ``start`` to ``end`` seconds in blocks: one at least, none of them empty.

        Raises MediaError when nothing lies there, at once where the header tells.
        """
        first = round(start * self.rate)
        last = None if end is None else round(end * self.rate)
        if last is not None and last <= first:
            raise empty_part(start, end)
        if self.frames is not None and self.frames <= first:
            raise self._nothing_from(start, self.frames)
        return self._read(first, last, remarks)

    def conversions(self, rate: int) -> list[str]:
        """What the sound goes through to be one channel at ``rate``."""
        said = []
        if self.channels > 1:
            said.append(f"{self.name}: {self.channels} channels mixed down to one")
        if self.rate != rate:
            said.append(f"{self.name}: resampled from {self.rate:g} Hz to {rate} Hz")
        return said

    def _read(self, first: int, last: int | None, remarks: Remarks) -> Iterator[np.ndarray]:
        found = 0
        try:
            for begin, block in self.decode(first):
                found = begin + len(block)
                stop = None if last is None else max(0, last - begin)
                wanted = block[max(0, first - begin) : stop]
                if len(wanted):
                    yield wanted
                if last is not None and found >= last:
                    return
        except Exception as error:  # of libsndfile, of FFmpeg and of their decoders
            reason = " ".join(str(error).split())
            if found <= first:
                raise self._unreadable(first, reason) from None
            remarks.damage(
                f"{self.name} is damaged at {found / self.rate:.1f} s: nothing after it can be "
                f"read ({reason})"
            )
            return
        if found <= first:
            if found or self.frames is None:
                raise self._nothing_from(first / self.rate, found)
            raise self._unreadable(first, "its decoder gives no samples")
        promised = found if self.frames is None else self.frames
        if found < min(promised, last or promised) - self.slack and not remarks.damaged:
            remarks.damage(
                f"{self.name} is damaged or cut short: its header promises "
                f"{promised / self.rate:.3f} s of sound, {found / self.rate:.3f} s found"
            )

    def _unreadable(self, first: int, reason: str) -> MediaError:
        return MediaError(
            f"{self.name} is damaged: nothing from {first / self.rate:g} s on can be read "
            f"({reason})"
        )

    def _nothing_from(self, start: float, frames: int) -> MediaError:
        if frames == 0:
            return no_sound(self.name)
        return MediaError(
            f"{self.name} has no sound in it from {start:g} s on: it is "
            f"{frames / self.rate:.1f} s long"
        )


def no_sound(name: str) -> MediaError:
    """The error for a recording that holds not a single sample."""
    return MediaError(f"{name} has no sound in it: zero samples")


def empty_part(start: float, end: float | None) -> InputError:
    """The error for a part of a recording that cannot hold anything."""
    return InputError(f"the part from {start} s to {end} s of a recording is empty")


def block_size(rate: float) -> int:
    """Samples decoded at a time, half a second: as much as is lost where a decoder fails."""
    return max(1, round(rate / 2))


# Below, a second would become hundreds of times its samples, in gigabytes.
_LOWEST_RATE, _HIGHEST_RATE = 100, 10_000_000


def check_rate(rate: float, name: str) -> None:
    """MediaError for a rate that no recording has."""
    if not _LOWEST_RATE <= rate <= _HIGHEST_RATE:
        raise MediaError(
            f"{name} has the rate {rate!r}; expected its rate in Hz, from {_LOWEST_RATE} to "
            f"{_HIGHEST_RATE}"
        )
