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
    are those of stream_generate and hold for every turn.

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
        self._sampling = (temperature, top_p, top_k, seed)
        make_sampler(model.generation_config, *self._sampling)  # wrong settings show here
        check_lengths(max_tokens, prefill_step_size)
        self._system = [{"role": "system", "content": system}] if system else []
        self.messages: list[Message] = list(self._system)
        self._prefix = PrefixCache(partial(model.make_cache, kv_bits))
        self._said: set[str] = set()  # notices about media are given in their first turn only
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
        if self._running is not None:
            self._running.close()  # a reply nobody read to its end
        self._running = self._wired([*self.messages, *messages], on_prefill)
        return self._running

    def clear(self) -> None:
        """Forget the conversation; the system message stays."""
        if self._running is not None:
            self._running.close()
        self.messages = list(self._system)
        self._prefix.clear()

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
            self.messages = [*messages, reply.message(reader.text_ids)]
        except BaseException as stop:
            # Where a step may have been cut in the middle, the cache goes back to a whole state.
            interrupted = isinstance(stop, GeneratorExit | KeyboardInterrupt)
            if not (interrupted and reply.ids):
                prefix.rewind(before)
                raise
            if isinstance(stop, GeneratorExit):
                prefix.advance(prompt, len(prompt), reply.ids)
            else:
                prefix.rewind(settled)
            self.messages = [*messages, reply.message(reader.text_ids)]
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
