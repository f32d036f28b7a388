"""A conversation of several turns on one KV cache.

Each turn renders the whole conversation, as the chat template demands, but reads only what the
cache does not hold: no image, recording or token is computed twice unless a thought has been taken
out of the history since. What the model said is put back as the ids it generated, for encoding
its text again need not give the same ids.
"""

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

from gemma4_mlx.errors import InputError
from gemma4_mlx.generation.loop import prefill
from gemma4_mlx.generation.media import hold_media
from gemma4_mlx.generation.prefix_cache import PrefixCache
from gemma4_mlx.generation.prompt import ProcessedPrompt
from gemma4_mlx.generation.reply import ReplyReader, inside_thought
from gemma4_mlx.generation.sampling import make_sampler
from gemma4_mlx.generation.stats import Stopwatch
from gemma4_mlx.generation.stream import Chunk, check_lengths, read_reply, reply_limit
from gemma4_mlx.generation.working_set import working_set

if TYPE_CHECKING:
    from gemma4_mlx.model import Gemma4Model
    from gemma4_mlx.processing.processor import Processor

Message = Mapping[str, Any]


class ChatSession:
    """Holds ``messages`` and the cache that goes with them.

    ``prefilled_tokens`` is how many tokens of the last turn's prompt had to be read. The settings
    are those of stream_generate and hold for every turn until they are changed, as ``messages`` may
    be: the next turn reads what the cache does not hold of them.

    A turn that fails leaves the session as it was. A reply broken off, by closing its iterator or
    by KeyboardInterrupt, is kept as far as it came.
    """

    def __init__(
        self,
        model: "Gemma4Model",
        processor: "Processor",
        *,
        system: str | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        enable_thinking: bool = False,
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        seed: int | None = None,
        max_soft_tokens: int | None = None,
        prefill_step_size: int = 2048,
        kv_bits: int | None = None,
    ):
        self.model, self.processor = model, processor
        self.tools, self.enable_thinking = tools, enable_thinking
        self.max_tokens, self.max_soft_tokens = max_tokens, max_soft_tokens
        self.prefill_step_size = prefill_step_size
        self.prefilled_tokens = 0
        self.sample_with(temperature, top_p, top_k, seed)
        check_lengths(max_tokens, prefill_step_size)
        self.messages: list[Message] = []
        self.system = system
        self._prefix = PrefixCache(partial(model.make_cache, kv_bits))
        self._said: set[str] = set()  # notices about media are given in their first turn only
        self._read: list[Message] | None = None  # the messages that the cache holds to their end
        self._running: Generator[Chunk, None, None] | None = None

    def send(
        self,
        content: str | Sequence[Mapping[str, Any]],
        on_prefill: Callable[[int, int], None] | None = None,
    ) -> Generator[Chunk, None, None]:
        """The reply to a user message: a text, or parts (text, image, audio, video).

        Raises InputError and MediaError, when the first chunk is asked for, as stream_generate.
        """
        return self.send_messages([{"role": "user", "content": content}], on_prefill)

    def send_messages(
        self,
        messages: Sequence[Message],
        on_prefill: Callable[[int, int], None] | None = None,
    ) -> Generator[Chunk, None, None]:
        """The reply after several messages, such as the results of function calls."""
        self._end_reply()
        self._running = self._wired([*self.messages, *messages], on_prefill)
        return self._running

    def retry(
        self, on_prefill: Callable[[int, int], None] | None = None
    ) -> Generator[Chunk, None, None]:
        """Another reply to the last user message; the old one goes when its first token comes.

        Raises InputError when there is no user message.
        """
        self._end_reply()
        start = self._last_turn()
        if start is None:
            raise InputError("there is no message to answer again: send one first")
        self._running = self._wired(list(self.messages[: start + 1]), on_prefill)
        return self._running

    def undo(self) -> list[Message]:
        """Take back the last user message and all that followed; returns them, oldest first."""
        self._end_reply()
        start = self._last_turn()
        if start is None:
            return []
        self.messages, taken = list(self.messages[:start]), list(self.messages[start:])
        return taken

    def clear(self) -> None:
        """Forget the conversation; the system message stays."""
        self._end_reply()
        self.messages = self.messages[:1] if self.system is not None else []
        self._prefix.clear()

    @property
    def system(self) -> str | None:
        """The system message, which may be set; None: there is none."""
        first: Message = self.messages[0] if self.messages else {}
        return str(first["content"]) if first.get("role") == "system" else None

    @system.setter
    def system(self, text: str | None) -> None:
        rest = self.messages if self.system is None else self.messages[1:]
        self.messages = [*([{"role": "system", "content": text}] if text else []), *rest]

    def sample_with(
        self,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        seed: int | None = None,
    ) -> None:
        """Draw the tokens of coming replies so. InputError for what is out of range."""
        make_sampler(self.model.generation_config, temperature, top_p, top_k, seed)
        self._sampling = (temperature, top_p, top_k, seed)

    def prompt_tokens(self, messages: Sequence[Message] = ()) -> int:
        """How long the prompt would be if ``messages`` were sent now, which may be too long.

        The model does not run. Raises InputError and MediaError as ``send`` does.
        """
        return self.processor.prompt_tokens(
            [*self.messages, *messages],
            self.tools,
            self.enable_thinking,
            max_soft_tokens=self.max_soft_tokens,
        )

    @property
    def cached_tokens(self) -> int:
        """How many tokens of the conversation the cache holds."""
        return len(self._prefix.ids)

    @property
    def all_cached(self) -> bool:
        """Whether the cache holds ``messages`` to their end.

        It does not after they were changed, after a turn that failed, and after Ctrl-C in a reply,
        which the next turn reads again.
        """
        return self._read is self.messages

    def _last_turn(self) -> int | None:
        """The index of the last user message."""
        turns = [i for i, message in enumerate(self.messages) if message.get("role") == "user"]
        return turns[-1] if turns else None

    def _end_reply(self) -> None:
        """Close a reply that nobody has read to its end; what came of it is kept."""
        if self._running is not None:
            self._running.close()
            self._running = None

    def _wired(
        self, messages: list[Message], on_prefill: Callable[[int, int], None] | None
    ) -> Generator[Chunk, None, None]:
        with working_set(self.model):
            yield from self._turn(messages, on_prefill)

    def _turn(
        self, messages: list[Message], on_prefill: Callable[[int, int], None] | None
    ) -> Generator[Chunk, None, None]:
        # 1. Render and process the conversation; nothing of the session changes until it fits.
        requested = time.perf_counter()
        model, processor, prefix = self.model, self.processor, self._prefix
        messages, notices = hold_media(messages, processor.sampling_rate)
        inputs = processor(
            messages, self.tools, self.enable_thinking, max_soft_tokens=self.max_soft_tokens
        )
        notices = [n for n in (*notices, *processor.notices) if n not in self._said]
        prompt = ProcessedPrompt(inputs, model.config, processor.tokenizer)
        limit = reply_limit(model, len(prompt), self.max_tokens)
        reader = ReplyReader(
            processor.tokenizer,
            inside_thought=inside_thought(prompt.ids, processor.tokenizer),
            first_call=1 + sum(len(m.get("tool_calls") or ()) for m in messages),
        )

        self._said.update(notices)

        # 2. Read what the cache lacks, up to the cue for the reply, and remember that state.
        self._read = None
        start = prefix.reuse(prompt)
        before = settled = prefix.mark()
        reply = _Reply()
        try:
            self.prefilled_tokens = len(prompt) - start
            stopwatch = Stopwatch(len(prompt), self.prefilled_tokens, requested)
            if prompt.settled > start:
                prefill(
                    model,
                    prompt.part(start, prompt.settled),
                    prefix.cache,
                    step_size=self.prefill_step_size,
                    on_chunk=on_prefill,
                )
                start = prompt.settled
                prefix.advance(prompt, start)
                settled = prefix.mark()
                prefix.keep(settled)

            # 3. Read the cue, and the reply as it comes.
            with closing(
                read_reply(
                    model,
                    processor,
                    prompt.part(start),
                    prefix.cache,
                    make_sampler(model.generation_config, *self._sampling),
                    reader=reader,
                    stopwatch=stopwatch,
                    max_tokens=limit,
                    prefill_step_size=self.prefill_step_size,
                    notices=notices,
                    record=reply.ids,
                )
            ) as chunks:
                for chunk in chunks:
                    reply.take(chunk)
                    yield chunk
            prefix.advance(prompt, len(prompt), reply.ids)
            self.messages = self._read = [*messages, reply.message(reader.text_ids)]
        except BaseException as stop:
            # Where a step may have been cut in the middle, the cache goes back to a whole state.
            interrupted = isinstance(stop, GeneratorExit | KeyboardInterrupt)
            if not (interrupted and reply.ids):
                prefix.rewind(before)
                raise
            self.messages = [*messages, reply.message(reader.text_ids)]
            if isinstance(stop, GeneratorExit):
                prefix.advance(prompt, len(prompt), reply.ids)
                self._read = self.messages
            else:
                prefix.rewind(settled)
            raise


class _Reply:
    """What has come of a reply: every id, and what was read from them."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.text = self.thought = ""
        self.tool_calls: list[dict[str, Any]] = []

    def take(self, chunk: Chunk) -> None:
        self.text += chunk.text
        self.thought += chunk.thought
        self.tool_calls += chunk.tool_calls

    def message(self, text_ids: list[int]) -> Message:
        """The turn for the history; the template decides whether the thought is shown again."""
        message: dict[str, Any] = {
            "role": "assistant",
            "content": self.text,
            "token_ids": list(text_ids),
        }
        if self.thought:
            message["reasoning"] = self.thought
        if self.tool_calls:
            message["tool_calls"] = self.tool_calls
        return message
