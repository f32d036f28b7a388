"""Local attention in blocks: which frames of a clip see each other.

A frame of 40 ms attends to itself and the 11 before it, whatever the length of the recording.
To do that with plain matrix products, queries are cut into blocks of ``chunk`` frames and each
block gets the keys of its own frames plus ``past`` frames before and ``future`` after them: a
context of 24 keys for 12 queries. A mask then narrows the context to the frames in reach. Cost
grows with the length of the clip, not with its square.
"""

from dataclasses import dataclass

import mlx.core as mx

from gemma4_mlx.config import AudioConfig


@dataclass(frozen=True)
class LocalBlocks:
    """Block geometry, in frames."""

    chunk: int
    past: int
    future: int

    @classmethod
    def from_config(cls, config: AudioConfig) -> "LocalBlocks":
        # attention_context_left counts the frame itself.
        return cls(
            chunk=config.attention_chunk_size,
            past=config.attention_context_left - 1,
            future=config.attention_context_right,
        )

    @property
    def context(self) -> int:
        """Keys per block."""
        return self.past + self.chunk + self.future

    def count(self, frames: int) -> int:
        """Blocks that hold ``frames`` frames."""
        return -(-frames // self.chunk)

    def queries(self, x: mx.array) -> mx.array:
        """(N, F, …) → (N, blocks, chunk, …), the last block filled up with zeros."""
        blocks = self.count(x.shape[1])
        x = _pad_frames(x, 0, blocks * self.chunk - x.shape[1])
        return x.reshape(x.shape[0], blocks, self.chunk, *x.shape[2:])

    def contexts(self, x: mx.array) -> mx.array:
        """(N, F, …) → (N, blocks, context, …), zeros before the start and behind the end."""
        blocks = self.count(x.shape[1])
        x = _pad_frames(x, self.past, blocks * self.chunk - x.shape[1] + self.future)
        starts = mx.arange(blocks)[:, None] * self.chunk
        return mx.take(x, starts + mx.arange(self.context), axis=1)

    def mask(self, valid: mx.array) -> mx.array:
        """Real frames (N, F) → (N, 1, blocks, chunk, context), True where a query may look.

        The reach is ``past`` frames counting the query itself, so the oldest key of a context is
        out of reach of every query; forwards it is likewise one less than ``future``.
        """
        distance = self.past + mx.arange(self.chunk)[:, None] - mx.arange(self.context)
        behind = (distance >= 0) & (distance < self.past)
        ahead = (distance < 0) & (-distance < self.future)
        return (behind | ahead) & self.contexts(valid)[:, None, :, None, :]


def _pad_frames(x: mx.array, before: int, after: int) -> mx.array:
    return mx.pad(x, [(0, 0), (before, after)] + [(0, 0)] * (x.ndim - 2))
