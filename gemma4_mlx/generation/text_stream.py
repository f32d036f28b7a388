"""Text from token ids, one at a time, without ever cutting a character in two.

Gemma's vocabulary is SentencePiece with byte fallback: a character it has no piece for is written
as its UTF-8 bytes, one token ``<0xF0>`` each. Those bytes are held until the character is whole.
All other tokens stand for the same text wherever they occur, leading space included, so nothing
has to be decoded twice. ``tokenizers.DecodeStream`` is not used: it raises on bytes that are not
UTF-8 after some that are, which a sampling model does write.
"""

import codecs
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gemma4_mlx.processing.tokenizer import Tokenizer

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


class TextStream:
    """Feeds on ids, gives text; bytes that are no character become U+FFFD."""

    def __init__(self, tokenizer: "Tokenizer"):
        self._tokenizer = tokenizer
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def add(self, token_id: int) -> str:
        """The text that is complete after this token; empty in the middle of a character."""
        byte = _BYTE.fullmatch(self._tokenizer.backend.id_to_token(token_id) or "")
        if byte:
            return self._utf8.decode(bytes([int(byte[1], 16)]))
        return self.flush() + self._tokenizer.decode([token_id])

    def flush(self) -> str:
        """What is left of a character that was not finished, as U+FFFD."""
        rest = self._utf8.decode(b"", final=True)
        self._utf8.reset()
        return rest
