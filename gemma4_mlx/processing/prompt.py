"""A rendered conversation in which the template's control tokens and people's text stay apart.

A template joins its control tokens and people's text into one string, and ``<turn|>`` looks the
same from both. So before rendering, a mark goes behind every character in the text that could
begin a control token: one character of Unicode's private use area that occurs nowhere else. In
the result an unbroken control token is the template's. The marks are taken out when the text
between control tokens is encoded, in one piece, so ordinary text gives transformers' ids.

Marking first characters rather than whole tokens also covers a token that a template joins from
two parts (``<tu`` and ``rn|>``). Replies given as ids travel through the template as a numbered
mark of their own and come out as those ids.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gemma4_mlx.errors import InputError
from gemma4_mlx.processing.chat_template import ChatTemplate
from gemma4_mlx.processing.messages import Conversation
from gemma4_mlx.processing.tokenizer import Tokenizer

_PRIVATE_USE = range(0xE000, 0xF900)


@dataclass(frozen=True)
class RenderedPrompt:
    """Text with marks: ``mark`` breaks spelled control tokens, ``reply_mark`` frames a number."""

    marked: str
    mark: str
    reply_mark: str
    replies: Mapping[int, list[int]]

    def plain(self, reply_texts: Mapping[int, str]) -> str:
        """The text as a template writes it, replies given as ids shown by their text."""
        return "".join(
            piece if reply is None else reply_texts[reply]
            for piece, reply in self._pieces(self.marked)
        ).replace(self.mark, "")

    def count(self, token: str) -> int:
        """How often the template wrote this control token."""
        return self.marked.count(token)

    def encode(self, tokenizer: Tokenizer, expansions: Mapping[str, Sequence[str]]) -> list[int]:
        """The ids, each placeholder of ``expansions`` replaced by the next text for it."""
        waiting = {token: iter(texts) for token, texts in expansions.items()}
        placeholder = "|".join(map(re.escape, waiting)) or r"(?!)"
        text = re.sub(placeholder, lambda match: next(waiting[match.group()]), self.marked)
        ids: list[int] = []
        for piece, reply in self._pieces(text):
            if reply is not None:
                ids += self.replies[reply]
                continue
            for part, control in tokenizer.split(piece):
                if control is None:
                    ids += tokenizer.encode_text(part.replace(self.mark, ""))
                else:
                    ids.append(control)
        return ids

    def _pieces(self, text: str) -> Iterator[tuple[str, int | None]]:
        """Cut at the replies: (text, None), and ("", number of the message) for a reply."""
        numbered = f"{self.reply_mark}([0-9]+){self.reply_mark}"
        for index, piece in enumerate(re.split(numbered, text)):
            yield ("", int(piece)) if index % 2 else (piece, None)


def render_prompt(
    template: ChatTemplate,
    tokenizer: Tokenizer,
    conversation: Conversation,
    tools: list[dict[str, Any]] | None,
    enable_thinking: bool,
    add_generation_prompt: bool,
) -> RenderedPrompt:
    """Render a checked conversation. InputError when the template refuses it."""
    used = set(template.source).union(*_strings([conversation.messages, tools]))
    free = (chr(code) for code in _PRIVATE_USE if chr(code) not in used)
    mark, reply_mark = next(free, ""), next(free, "")
    if not reply_mark:
        raise InputError("the messages use all 6,400 private characters of Unicode at once")

    first = {token[0] for token in tokenizer.control_tokens}
    breaks = re.compile("[" + re.escape("".join(sorted(first))) + "]")
    messages = _marked(conversation.messages, breaks, mark)
    for index in conversation.replies:
        messages[index]["content"] = f"{reply_mark}{index}{reply_mark}"
    text = template.render(
        messages, _marked(tools, breaks, mark), enable_thinking, add_generation_prompt
    )
    for index in conversation.replies:
        if text.count(messages[index]["content"]) != 1:
            raise InputError(
                f"{template.name} does not show messages[{index}], a given reply, once"
            )
    return RenderedPrompt(text, mark, reply_mark, conversation.replies)


def _marked(value: Any, breaks: re.Pattern[str], mark: str) -> Any:
    if isinstance(value, str):
        return breaks.sub(lambda match: match.group() + mark, value)
    if isinstance(value, dict):
        return {_marked(k, breaks, mark): _marked(v, breaks, mark) for k, v in value.items()}
    if isinstance(value, list):
        return [_marked(item, breaks, mark) for item in value]
    return value


def _strings(value: Any) -> Iterator[str]:
    """Every string in plain data, keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _strings(item)
