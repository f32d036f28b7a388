"""Google's chat templates by revision: which one it is, and whether it is still the right one.

The template is a program that came with the weights and was corrected several times since, for
loops after tool calls, turns left open and thoughts in the wrong place; conversions made earlier
still carry what they were made from. A revision is known by its sha256, so that a template which
its owner wrote or changed is never mistaken for one.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from gemma4_mlx.config import Gemma4Config
from gemma4_mlx.processing.chat_template import ChatTemplate

NEWEST = "9 July 2026"

# What is published for the small (E2B, E4B) and the big models differs. The hashes of the
# revision of 10 April are not known here: it is left alone, as a user's own template is.
OUTDATED: Mapping[str, str] = {
    "55572b8d3c8342044e25874c73fe5234b661fa0a57a57f6ef75b58e03d7d959a": "2 April 2026",
    "33204f1acb5bd0002713e16a593847f24ceeafe711ed88bda2a352dc996a3373": "28 April 2026",
    "94899c0f917d93f6fe81c95744d1e8ddab2d21d39228d2e4aec1fb2a25bff413": "28 April 2026",
    "2f1b4d75d067bae3fe44e676721c7f077d243bc007156cb9c2f8b5836613d082": "18 May 2026",
    "36e3a42e5cf14cd0020e72d92e1fdd9970f59b82170e421f0cbe1bb42bead3f0": "18 May 2026",
}


@dataclass(frozen=True)
class Revision:
    """One of Google's templates, seen from a model; ``date`` is when it was published.

    ``of_other_size`` is known of the newest ones alone: each that was replaced is to be replaced.
    """

    date: str
    of_other_size: bool = False

    @property
    def is_stale(self) -> bool:
        """Whether the model is better off with ``newest``."""
        return self.date != NEWEST or self.of_other_size


def revision_of(template: str, config: Gemma4Config) -> Revision | None:
    """Which revision a template is; None for one that its owner wrote or changed."""
    big = config.text.bidirectional_vision
    for of_other_size in (False, True):
        shipped = ChatTemplate.shipped(big != of_other_size).source
        if template.strip("\n") == shipped.strip("\n"):
            return Revision(NEWEST, of_other_size)
    date = outdated_revision(template)
    return None if date is None else Revision(date)


def outdated_revision(template: str) -> str | None:
    """The date of a revision that a newer one has replaced; None for any other template."""
    # Tools that put the file into JSON and back add or drop its last newline.
    for text in (template, f"{template}\n", template.removesuffix("\n")):
        date = OUTDATED.get(hashlib.sha256(text.encode()).hexdigest())
        if date is not None:
            return date
    return None


def newest(config: Gemma4Config) -> str:
    """The template that Google publishes now for models of this size."""
    return ChatTemplate.shipped(big=config.text.bidirectional_vision).source


def size_of(config: Gemma4Config) -> str:
    """Which of the two templates is the model's, for a sentence about it."""
    return "26B and 31B" if config.text.bidirectional_vision else "E2B and E4B"
