"""Reading a reply as it is generated: visible text, thoughts and function calls.

A model turn of Gemma 4 is one stream of tokens in which control tokens mark what is not for the
reader's eyes:

    <|channel>thought\\n … <channel|>      the thought, with thinking on; empty on the big models
    <|tool_call>call:name{…}<tool_call|>  a function call, several of them back to back
    <turn|>, <eos>, <|tool_response>      the end (which ids end a turn is the caller's business)

The marks are recognised by id, never by spelling: text that spells one is text.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from gemma4_mlx.generation.text_stream import TextStream
from gemma4_mlx.generation.tool_calls import QUOTE, ToolCallSyntaxError, parse_tool_call

if TYPE_CHECKING:
    from gemma4_mlx.processing.tokenizer import Tokenizer

OPEN_CHANNEL, CLOSE_CHANNEL = "<|channel>", "<channel|>"
OPEN_CALL, CLOSE_CALL = "<|tool_call>", "<tool_call|>"
# Stands for the <|"|> token while a call is read: half a character, which no decoded text holds.
_QUOTE_MARK = "\ud800"
_THOUGHT_HEADER = "thought\n"


@dataclass
class Delta:
    """What one token, or the end of the reply, added.

    ``tool_calls`` are in the form that messages take: ``{"id", "type": "function", "function":
    {"name", "arguments"}}``. ``notices`` say what could not be read.
    """

    text: str = ""
    thought: str = ""
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.text or self.thought or self.tool_calls or self.notices)


class _Part(Enum):
    TEXT = "text"
    THOUGHT_HEADER = "thought header"
    THOUGHT = "thought"
    CALL = "call"


class ReplyReader:
    """Reads the ids of one reply in order; ``text_ids`` are those of its visible text.

    ``inside_thought`` says that the prompt itself opened the thought, as the chat template does
    after a tool response with thinking on. ``first_call`` numbers the calls, so that their ids
    stay distinct within a conversation.
    """

    def __init__(
        self, tokenizer: "Tokenizer", *, inside_thought: bool = False, first_call: int = 1
    ):
        backend = tokenizer.backend
        self._open_channel = backend.token_to_id(OPEN_CHANNEL)
        self._close_channel = backend.token_to_id(CLOSE_CHANNEL)
        self._open_call = backend.token_to_id(OPEN_CALL)
        self._close_call = backend.token_to_id(CLOSE_CALL)
        self._quote = backend.token_to_id(QUOTE)
        # Other control tokens (padding, media marks) mean nothing in a reply and are not shown.
        self._hidden = {i for i, t in backend.get_added_tokens_decoder().items() if t.special}
        self._stream = TextStream(tokenizer)
        self._part = _Part.THOUGHT if inside_thought else _Part.TEXT
        self._held = ""  # a thought's header or trailing blank, or a call, not yet given out
        self._call_ids: list[int] = []
        self._next_call = first_call
        self.text_ids: list[int] = []

    def read(self, token_id: int) -> Delta:
        """What this token completes; an empty Delta (false) while more is needed."""
        if token_id == self._open_channel and self._part is not _Part.CALL:
            return self._enter(_Part.THOUGHT_HEADER)
        if token_id == self._close_channel and self._part is not _Part.CALL:
            return self._enter(_Part.TEXT)
        if token_id == self._open_call:
            delta = self._enter(_Part.CALL)
            self._call_ids = [token_id]
            return delta
        if self._part is _Part.CALL:
            self._call_ids.append(token_id)
            if token_id == self._close_call:
                return self._enter(_Part.TEXT)
            if token_id == self._quote:
                self._held += self._stream.flush() + _QUOTE_MARK
            else:
                self._held += self._stream.add(token_id)
            return Delta()
        if token_id in self._hidden:
            return Delta()
        if self._part is _Part.TEXT:
            self.text_ids.append(token_id)
        return self._give(self._stream.add(token_id))

    def finish(self) -> Delta:
        """The rest, when the reply has ended: an unfinished character, thought or call."""
        return self._enter(_Part.TEXT)

    def _enter(self, part: _Part) -> Delta:
        """Close the present part and begin another."""
        delta = self._give(self._stream.flush())
        held, self._held = self._held, ""
        if self._part is _Part.CALL:
            self._close(held, delta)
        elif self._part is _Part.THOUGHT_HEADER:
            delta.thought += "" if _THOUGHT_HEADER.startswith(held) else held
        # Blank space at the end of a thought only sets off the closing mark.
        self._part = part
        return delta

    def _give(self, text: str) -> Delta:
        if not text:
            return Delta()
        if self._part is _Part.TEXT:
            return Delta(text=text)
        self._held += text
        if self._part is _Part.CALL:
            return Delta()
        if self._part is _Part.THOUGHT_HEADER:
            if len(self._held) < len(_THOUGHT_HEADER) and _THOUGHT_HEADER.startswith(self._held):
                return Delta()
            self._held = self._held.removeprefix(_THOUGHT_HEADER)
            self._part = _Part.THOUGHT
        ready = self._held.rstrip()
        self._held = self._held[len(ready) :]
        return Delta(thought=ready)

    def _close(self, call: str, delta: Delta) -> None:
        """Turn what stood between the call tokens into a call, or give it back as text."""
        try:
            name, arguments = parse_tool_call(call, _QUOTE_MARK)
        except ToolCallSyntaxError as error:
            whole = self._call_ids[-1] == self._close_call
            shown = call.replace(_QUOTE_MARK, QUOTE)
            delta.text += OPEN_CALL + shown + (CLOSE_CALL if whole else "")
            self.text_ids += self._call_ids
            why = str(error).replace(ascii(_QUOTE_MARK)[1:-1], QUOTE)
            delta.notices.append(f"a function call could not be read and is shown as text: {why}")
            return
        delta.tool_calls.append(
            {
                "id": f"call_{self._next_call}",
                "type": "function",
                "function": {"name": name, "arguments": arguments},
            }
        )
        self._next_call += 1


def inside_thought(prompt_ids: Sequence[int], tokenizer: "Tokenizer") -> bool:
    """Whether a prompt ends within a thought that it opened itself."""
    opening = tokenizer.backend.token_to_id(OPEN_CHANNEL)
    others = {tokenizer.backend.token_to_id(t) for t in (CLOSE_CHANNEL, "<|turn>", "<turn|>")}
    for token_id in reversed(prompt_ids):
        if token_id == opening:
            return True
        if token_id in others:
            return False
    return False
