"""Text to ids and back, with a wall between control tokens and text that only spells them.

Gemma 4's vocabulary holds 24 control tokens (``<|turn>``, ``<image|>``, ``<|"|>`` …). Whoever may
write one of them can end a turn, forge a system prompt or call a tool. So there are two ways in:
``encode`` reads control tokens, for text that a chat template wrote; ``encode_text`` never yields
one, for text from people, tools and files: there ``<turn|>`` is five or six ordinary tokens.

Source: the ``tokenizer.json`` of the checkpoint, run by the ``tokenizers`` library (byte-fallback
BPE, no prefix space). Deviation from the usual use of that library: its own search for control
tokens is switched off and done here, so that one object serves both ways in.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from tokenizers import AddedToken
from tokenizers import Tokenizer as Backend

from gemma4_mlx.errors import CheckpointError, InputError

# The shape of Gemma 4's own control tokens: <|name>, <name|>, <|name|>.
_CONTROL_SHAPE = re.compile(r"<\|.+>|<.+\|>", re.DOTALL)

# All that Gemma 4 knows.
CONTROL_TOKENS = (
    *("<pad>", "<eos>", "<bos>", "<unk>", "<mask>"),
    *("<|turn>", "<turn|>", "<|channel>", "<channel|>", "<|think|>"),
    *("<|tool>", "<tool|>", "<|tool_call>", "<tool_call|>", "<|tool_response>", "<tool_response|>"),
    *('<|"|>', "<|image>", "<|image|>", "<image|>", "<|audio>", "<|audio|>", "<audio|>"),
    "<|video|>",
)


class Tokenizer:
    """The checkpoint's tokenizer; ``backend`` is the ``tokenizers`` object under it."""

    def __init__(self, backend: Backend):
        self.backend = backend
        backend.no_padding()
        backend.no_truncation()
        added = backend.get_added_tokens_decoder()
        # A control token that the file does not call special would be found in any text.
        backend.add_special_tokens(
            [
                AddedToken(token.content, special=True, normalized=False)
                for token in added.values()
                if not token.special and _is_control(token.content)
            ]
        )
        backend.encode_special_tokens = True  # which means: read their spelling as text
        self.control_tokens: dict[str, int] = {
            token.content: index
            for index, token in backend.get_added_tokens_decoder().items()
            if token.special and token.content
        }
        longest_first = sorted(self.control_tokens, key=len, reverse=True)
        self._control = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        self._all_control = set(self.control_tokens.values())
        # An unknown character may well become <unk>: that is what it is for.
        unknown = getattr(backend.model, "unk_token", None)
        self._forbidden = self._all_control - {self.control_tokens.get(unknown or "")}

    @classmethod
    def from_dir(cls, path: Path) -> "Tokenizer":
        """Read ``path/tokenizer.json``.

        Raises CheckpointError when it is missing or damaged.
        """
        file = Path(path) / "tokenizer.json"
        if not file.is_file():
            raise CheckpointError(
                f"{file} is missing: Gemma 4 checkpoints hold their tokenizer in this file; "
                "download it again"
            )
        try:
            return cls(Backend.from_file(str(file)))
        except Exception as error:  # the library raises bare Exception
            raise CheckpointError(
                f"{file} cannot be read as a tokenizer ({error}); download it again"
            ) from None

    @property
    def vocab_size(self) -> int:
        """Number of tokens, the control tokens included."""
        return self.backend.get_vocab_size(with_added_tokens=True)

    def token_id(self, token: str) -> int:
        """The id of a token by its spelling.

        Raises CheckpointError when there is none, and for a control token that the file holds as
        a mere word of the vocabulary: it would be an ordinary piece of anybody's text.
        """
        index = self.control_tokens.get(token)
        word = self.backend.token_to_id(token) if index is None else None
        if index is None and not _is_control(token):
            index = word
        if index is None:
            where = "" if word is None else " (it is in the vocabulary, not in added_tokens)"
            kind = "control token" if _is_control(token) else "token"
            raise CheckpointError(
                f"the tokenizer has no {kind} {token!r}, which Gemma 4 needs{where}: "
                "use the tokenizer.json that came with the weights"
            )
        return index

    def split(self, text: str) -> Iterator[tuple[str, int | None]]:
        """Cut text at its control tokens: (spelling, id) for one, (text, None) between them."""
        end = 0
        for match in self._control.finditer(text):
            if match.start() > end:
                yield text[end : match.start()], None
            yield match.group(), self.control_tokens[match.group()]
            end = match.end()
        if end < len(text):
            yield text[end:], None

    def encode(self, text: str) -> list[int]:
        """Ids of a prompt: a spelled control token becomes that token. No BOS is added."""
        ids: list[int] = []
        for piece, control in self.split(text):
            ids += self.encode_text(piece) if control is None else [control]
        return ids

    def encode_text(self, text: str) -> list[int]:
        """Ids of text that is only text: no control token comes out, whatever it spells."""
        ids = self._encode(text)
        if not self._control.search(text) or self._all_control.isdisjoint(ids):
            return ids
        # A BPE that looks up whole words first can still reach one: cut each spelling in two.
        ids = []
        for piece, control in self.split(text):
            cut = len(piece) if control is None else 1
            ids += self._encode(piece[:cut]) + self._encode(piece[cut:])
        if not self._forbidden.isdisjoint(ids):
            raise InputError(f"the text {text[:60]!r} cannot be encoded without a control token")
        return ids

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = False) -> str:
        """The text of ids; ``skip_special_tokens`` leaves the control tokens out."""
        return self.backend.decode(list(ids), skip_special_tokens=skip_special_tokens)

    def _encode(self, text: str) -> list[int]:
        return self.backend.encode(text, add_special_tokens=False).ids if text else []


def _is_control(token: str) -> bool:
    return token in CONTROL_TOKENS or _CONTROL_SHAPE.fullmatch(token) is not None
