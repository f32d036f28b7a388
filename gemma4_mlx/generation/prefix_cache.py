"""One KV cache for a conversation: what it holds, and how far a new prompt agrees with it.

Usually the next prompt begins with everything the cache holds, prompt and reply, and only the new
turn is read. Where a thought has been taken out of the history it does not, and a ring of a local
layer cannot be rewound, so the state at the start of each of the last turns is kept as a snapshot:
the newest one that the prompt still begins with is put back.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gemma4_mlx.generation.prompt import ProcessedPrompt

if TYPE_CHECKING:
    from gemma4_mlx.text.kv_cache import CacheSnapshot, KVCache

# A snapshot keeps the rings of all local layers alive: 6 MB on E2B, 839 MB on 31B. So many are
# kept, or fewer that take no more than so many bytes, but always the newest.
_KEPT = 4
_KEPT_BYTES = 2 * 10**9


@dataclass(frozen=True)
class Mark:
    """A state of the cache to come back to."""

    ids: list[int]
    digests: tuple[bytes, ...]
    snapshot: "CacheSnapshot"


class PrefixCache:
    """``cache`` holds exactly the tokens ``ids``, with the media ``digests`` among them."""

    def __init__(self, make_cache: "Callable[[], KVCache]"):
        self._make_cache = make_cache
        self.clear()

    def clear(self) -> None:
        """Begin with an empty cache."""
        self.cache = self._make_cache()
        self.ids: list[int] = []
        self.digests: tuple[bytes, ...] = ()
        self._marks: list[Mark] = []

    def reuse(self, prompt: ProcessedPrompt) -> int:
        """Bring the cache to the longest known prefix of ``prompt``; how many tokens that is."""
        if not prompt.begins_with(self.ids, self.digests):
            # Newer marks go as well: their part of the cache is about to be written over.
            while self._marks and not prompt.begins_with(
                self._marks[-1].ids, self._marks[-1].digests
            ):
                self._marks.pop()
            if self._marks:
                self.rewind(self._marks[-1])
            else:
                self.clear()
        return len(self.ids)

    def advance(self, prompt: ProcessedPrompt, length: int, generated: Sequence[int] = ()) -> None:
        """Note that the cache now holds ``length`` ids of the prompt and the ``generated`` ones.

        The loop has not fed the last token of a reply that ended at its limit; it is left out.
        """
        self.ids = [*prompt.ids[:length], *generated][: self.cache.offset]
        self.digests = prompt.digests(length)

    def mark(self) -> Mark:
        return Mark(self.ids, self.digests, self.cache.snapshot())

    def keep(self, mark: Mark) -> None:
        """Remember a mark for later turns; only the newest few are."""
        if not self._marks or len(self._marks[-1].ids) < len(mark.ids):
            marks = [*self._marks, mark][-_KEPT:]
            while len(marks) > 1 and sum(kept.snapshot.nbytes for kept in marks) > _KEPT_BYTES:
                del marks[0]
            self._marks = marks

    def rewind(self, mark: Mark) -> None:
        """Go back to a mark; later ones are given up, for what they rest on will be overwritten."""
        self._marks = [kept for kept in self._marks if len(kept.ids) <= len(mark.ids)]
        self.cache.restore(mark.snapshot)
        self.ids, self.digests = mark.ids, mark.digests
