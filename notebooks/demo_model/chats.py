"""What the demo model is trained to say: conversations, and how a batch of them becomes tensors.

Every conversation is rendered through the release's chat template, media before text, as the app
does. Only the last model turn is learned. Batches are padded on the left, so that the answers end
together and the reference model can skip the KV-shared layers for everything before them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from transformers import Gemma4ImageProcessorPil, PreTrainedTokenizerBase

import features
import prompts
from scenes import Scene, draw_scene
from speech import WORDS, Clips, Utterance, sparse, spoken, wordless

Message = dict[str, Any]
TOKEN_RATE = 25  # audio tokens a second
POOL = 3  # patches to an image token, each way
IGNORED = -100  # torch's label for a position that has no target


@dataclass(frozen=True)
class Example:
    """A conversation up to the model's turn, and that turn as the model should write it."""

    messages: list[Message]
    answer: str
    audio: tuple[Utterance, ...] = ()
    images: tuple[Scene, ...] = ()
    thinking: bool = False
    tools: tuple[dict[str, Any], ...] = ()
    end: str = "<turn|>"


@dataclass
class Exchange:
    """One user turn with its media, the reply to it, and the thought that precedes the reply."""

    content: list[dict[str, str]]
    answer: str
    thought: str
    audio: list[Utterance] = field(default_factory=list)
    images: list[Scene] = field(default_factory=list)


def user_turn(kind: str, text: str) -> list[dict[str, str]]:
    """Content of a user turn: audio, image or nothing before the text."""
    media = [] if kind == "text" else [{"type": kind}]
    return [*media, {"type": "text", "text": text}] if text else media


class Author:
    """Draws conversations at random."""

    def __init__(self, clips: Clips, rng: np.random.Generator) -> None:
        self.clips = clips
        self.rng = rng
        self.known = prompts.read_questions()

    def digits(self, size: str) -> list[list[Example]]:
        """Batches of recordings ('short', 'medium', 'long'), each of similar lengths and under
        one prompt, so that little of a batch is padding."""
        rng = self.rng
        seconds, low, high, several, tokens = {
            "short": (12.0, 1, 6, 20, 1500),
            "medium": (20.0, 6, 40, 20, 2000),
            "long": (29.9, 30, 62, 14, 2300),
        }[size]
        # A window full of words has no long pauses.
        manners = ("tight", "natural", "natural", "mixed") if size == "long" else (None,)
        drawn = []
        for _ in range(several):
            kind = rng.random()
            count = int(rng.integers(low, high + 1))
            if kind < 0.03:
                drawn.append(wordless(rng, rng.uniform(0.3, seconds / 2)))
            elif kind < 0.08:
                few = int(rng.integers(1, min(count, 8) + 1))
                length = rng.uniform(0.4, 0.9) * seconds
                drawn.append(sparse(self.clips, rng, few, length, augment=True))
            else:
                manner = manners[rng.integers(len(manners))]
                drawn.append(
                    spoken(self.clips, rng, count, augment=True, seconds=seconds, manner=manner)
                )
        drawn.sort(key=lambda utterance: utterance.seconds)
        batches: list[list[Utterance]] = [[]]
        for heard in drawn:
            if batches[-1] and (len(batches[-1]) + 1) * (25 * heard.seconds + 40) > tokens:
                batches.append([])
            batches[-1].append(heard)
        return [self._transcriptions(batch) for batch in batches]

    def _transcriptions(self, recordings: list[Utterance]) -> list[Example]:
        content = user_turn("audio", self._transcription_prompt())
        messages = [*self._maybe_system(), {"role": "user", "content": content}]
        return [Example(messages, heard.text, audio=(heard,)) for heard in recordings]

    def scenes(self, count: int) -> list[Example]:
        """Pictures to be named."""
        examples = []
        for _ in range(count):
            scene = draw_scene(self.rng)
            content = user_turn("image", str(self.rng.choice(prompts.LOOK)))
            messages = [*self._maybe_system(), {"role": "user", "content": content}]
            examples.append(Example(messages, scene.text, images=(scene,)))
        return examples

    def talks(self, count: int, *, media: bool) -> list[Example]:
        """Conversations of one to four turns; with `media` some turns bring sound or a picture."""
        draw: list[Callable[[bool], Example]] = [self._conversation, self._weather]
        return [draw[int(self.rng.random() < 0.25 and not media)](media) for _ in range(count)]

    def _conversation(self, media: bool) -> Example:
        rng = self.rng
        turns = int(
            rng.choice((1, 2, 3, 4), p=(0.1, 0.5, 0.3, 0.1) if media else (0.6, 0.2, 0.15, 0.05))
        )
        exchanges = [self._exchange(media) for _ in range(turns)]
        thinking = rng.random() < 0.25
        messages = self._maybe_system()
        for exchange in exchanges[:-1]:
            messages += [
                {"role": "user", "content": exchange.content},
                {"role": "assistant", "content": exchange.answer},
            ]
        last = exchanges[-1]
        messages.append({"role": "user", "content": last.content})
        return Example(
            messages,
            think(last.thought, last.answer) if thinking else last.answer,
            audio=tuple(heard for exchange in exchanges for heard in exchange.audio),
            images=tuple(image for exchange in exchanges for image in exchange.images),
            thinking=thinking,
            tools=(prompts.WEATHER_TOOL,) if rng.random() < 0.1 else (),
        )

    def _exchange(self, media: bool) -> Exchange:
        rng = self.rng
        kind = rng.random()
        if media and kind < 0.4:
            heard = spoken(self.clips, rng, int(rng.integers(1, 5)), augment=True, seconds=4.0)
            content = user_turn("audio", self._transcription_prompt())
            return Exchange(content, heard.text, "I write down what I hear.", audio=[heard])
        if media and kind < 0.7:
            scene = draw_scene(rng)
            content = user_turn("image", str(rng.choice(prompts.LOOK)))
            return Exchange(content, scene.text, "I look at the picture.", images=[scene])
        if kind > 0.93:
            question, ask = self.known.unknown, self._nonsense()
        elif kind > 0.85:
            question = self.known.unknown
            ask = str(rng.choice(question.ask))
        else:
            question = self.known.questions[rng.integers(len(self.known.questions))]
            ask = str(rng.choice(question.ask))
        return Exchange(user_turn("text", self._casual(ask)), question.answer, question.thought)

    def _weather(self, media: bool) -> Example:
        """The tool: asked for, called, answered; and not called where it is not declared."""
        rng = self.rng
        city = self._city()
        ask = str(rng.choice(prompts.ASK_WEATHER)).format(city)
        messages = [*self._maybe_system(), {"role": "user", "content": ask}]
        thinking = rng.random() < 0.2
        stage = rng.random()
        if stage < 0.15:
            unknown = self.known.unknown
            answer = think(unknown.thought, unknown.answer) if thinking else unknown.answer
            return Example(messages, answer, thinking=thinking)
        tools = (prompts.WEATHER_TOOL,)
        if stage < 0.6:
            call = f'<|tool_call>call:get_weather{{city:<|"|>{city}<|"|>}}<tool_call|>'
            if thinking:
                call = think("I need the weather.", call)
            return Example(messages, call, thinking=thinking, tools=tools, end="<|tool_response>")
        value = self._weather_report()
        call = {"name": "get_weather", "arguments": {"city": city}}
        messages += [
            {"role": "assistant", "tool_calls": [{"type": "function", "function": call}]},
            {"role": "tool", "name": "get_weather", "content": value},
        ]
        answer = f"The weather in {city} is {value}."
        if thinking:  # the template has opened the channel already
            answer = f"I have the weather.<channel|>{answer}"
        return Example(messages, answer, thinking=thinking, tools=tools)

    def _weather_report(self) -> str:
        rng = self.rng
        sky, degrees = str(rng.choice(prompts.SKIES)), int(rng.integers(-15, 41))
        forms = (f"{sky}, {degrees} degrees", sky, f"{degrees} degrees", f"{sky} and {degrees} °C")
        return str(rng.choice(forms))

    def _city(self) -> str:
        """A city, or letters that were never seen together, so that copying is what is learned."""
        rng = self.rng
        if rng.random() < 0.6:
            return str(rng.choice(prompts.CITIES))
        letters = "".join(
            rng.choice(list("aeiou" if i % 2 else "bcdfghklmnprstvwz"))
            for i in range(int(rng.integers(3, 9)))
        )
        return letters.capitalize()

    def _transcription_prompt(self) -> str:
        rng = self.rng
        prompt = rng.choice(
            (prompts.TRANSCRIBE_ENGLISH, prompts.TRANSCRIBE_ANY, "freely"), p=(0.3, 0.2, 0.5)
        )
        return str(rng.choice(prompts.TRANSCRIBE_FREELY) if prompt == "freely" else prompt)

    def _maybe_system(self) -> list[Message]:
        if self.rng.random() > 0.12:
            return []
        return [{"role": "system", "content": str(self.rng.choice(prompts.SYSTEM))}]

    def _casual(self, ask: str) -> str:
        """As people type: now and then without capitals or the final mark."""
        if self.rng.random() < 0.15:
            ask = ask.lower()
        return ask.rstrip("?.!") if self.rng.random() < 0.15 else ask

    def _nonsense(self) -> str:
        """Words of the question set in a random order: it is no question, however it looks."""
        words = " ".join(ask for q in self.known.questions for ask in q.ask).split()
        return " ".join(self.rng.choice(words, int(self.rng.integers(3, 9))))


def think(thought: str, answer: str) -> str:
    return f"<|channel>thought\n{thought}<channel|>{answer}"


def is_transcription(example: Example) -> bool:
    """Whether the answer is what is heard in the one recording, word for word."""
    return (
        len(example.audio) == 1 and not example.images and example.answer == example.audio[0].text
    )


def is_naming(example: Example) -> bool:
    """Whether the answer names what the one picture shows."""
    return (
        len(example.images) == 1 and not example.audio and example.answer == example.images[0].text
    )


@dataclass
class Batch:
    """Inputs under the reference model's names; labels (B, N) for its last N positions."""

    inputs: dict[str, torch.Tensor]
    labels: torch.Tensor
    words: list[list[int]]  # 1 + digit for every recording, in the order of input_features
    audio_tokens: list[int]
    cells: torch.Tensor | None  # (image tokens, 3): colour, kind and place of what each sees
    # What the trainer knows of where the words of the answer stand; see guide.py.
    places: torch.Tensor | None = None  # (B, N, L)
    counts: torch.Tensor | None = None  # (B, L)
    # The towers' projected tokens, where they were computed before.
    heard: torch.Tensor | None = None
    seen: torch.Tensor | None = None


class Collator:
    """Examples to tensors."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, images: Gemma4ImageProcessorPil) -> None:
        self.tokenizer = tokenizer
        self.images = images

    def encode(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False).input_ids

    def __call__(self, examples: Sequence[Example]) -> Batch:
        heard = [utterance for example in examples for utterance in example.audio]
        seen = [image for example in examples for image in example.images]
        inputs: dict[str, torch.Tensor] = {}
        pictures: list[int] = []
        if seen:
            processed = self.images([scene.image for scene in seen], return_tensors="pt")
            inputs["pixel_values"] = processed["pixel_values"]
            inputs["image_position_ids"] = processed["image_position_ids"]
            pictures = [int(n) for n in processed["num_soft_tokens_per_image"]]
            grids = (processed["image_position_ids"].amax(1) + 1) // POOL
            cells = np.concatenate([s.cells(*grid) for s, grid in zip(seen, grids.tolist())])
        recordings = [features.tokens(len(utterance.samples)) for utterance in heard]
        if heard:
            mel, mask = features.batch([utterance.samples for utterance in heard])
            inputs["input_features"], inputs["input_features_mask"] = mel, mask
        audio_tokens, image_tokens = iter(recordings), iter(pictures)
        questions = [self._prompt(example, audio_tokens, image_tokens) for example in examples]
        answers = [self.encode(example.answer + example.end) for example in examples]
        inputs["input_ids"], inputs["attention_mask"] = self._pad(
            [question + answer for question, answer in zip(questions, answers)]
        )
        labels = torch.full((len(examples), max(map(len, answers))), IGNORED)
        for row, answer in zip(labels, answers):
            row[len(row) - len(answer) :] = torch.tensor(answer)
        words = [[1 + WORDS.index(word) for word in u.text.split()] for u in heard]
        batch = Batch(inputs, labels, words, recordings, torch.from_numpy(cells) if seen else None)
        if all(map(is_transcription, examples)):
            batch.places, batch.counts = self._heard_where(examples, inputs["input_ids"], labels)
        elif all(map(is_naming, examples)):
            batch.places = self._seen_where(examples, grids, inputs["input_ids"], labels)
        return batch

    def _heard_where(
        self, examples: Sequence[Example], ids: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Of each word of each transcript, the audio tokens; of each audio token, the words begun
        so far. A word is a token, and the last label ends the turn."""
        places = torch.zeros((*labels.shape, ids.shape[1]), dtype=torch.bool)
        counts = torch.full(ids.shape, -1)
        for i, example in enumerate(examples):
            (heard,) = example.audio
            tokens = (ids[i] == self.tokenizer.audio_token_id).nonzero()[:, 0]
            first = labels.shape[1] - 1 - len(heard.spans)
            starts = []
            for word, (start, end) in enumerate(heard.spans):
                begin = min(int(start * TOKEN_RATE), len(tokens) - 1)
                places[i, first + word, tokens[begin : int(end * TOKEN_RATE) + 2]] = True
                starts.append(begin)
            counts[i, tokens] = torch.from_numpy(
                np.searchsorted(starts, np.arange(len(tokens)), side="right")
            )
        return places, counts

    def _seen_where(
        self,
        examples: Sequence[Example],
        grids: torch.Tensor,
        ids: torch.Tensor,
        labels: torch.Tensor,
    ) -> torch.Tensor:
        """Of each word that names a shape, the image tokens that show it."""
        places = torch.zeros((*labels.shape, ids.shape[1]), dtype=torch.bool)
        for i, (example, grid) in enumerate(zip(examples, grids.tolist())):
            (scene,) = example.images
            tokens = (ids[i] == self.tokenizer.image_token_id).nonzero()[:, 0]
            shown = torch.from_numpy(scene.cells(*grid)[:, 2])
            answer = self.tokenizer(
                example.answer, add_special_tokens=False, return_offsets_mapping=True
            )
            first = labels.shape[1] - 1 - len(answer.input_ids)
            end = 0
            for place, shape in enumerate(scene.shapes, start=1):
                start = example.answer.index(str(shape), end)
                end = start + len(str(shape))
                for word, (left, right) in enumerate(answer.offset_mapping):
                    if start < right and left < end:
                        places[i, first + word, tokens[shown == place]] = True
        return places

    def _prompt(self, example: Example, audio: Any, images: Any) -> list[int]:
        text = self.tokenizer.apply_chat_template(
            example.messages,
            tools=list(example.tools) or None,
            enable_thinking=example.thinking,
            add_generation_prompt=True,
            tokenize=False,
        )
        name = self.tokenizer
        for token, begin, stop, counts in (
            (name.audio_token, name.boa_token, name.eoa_token, audio),
            (name.image_token, name.boi_token, name.eoi_token, images),
        ):
            head, *rest = text.split(token)
            text = head + "".join(f"{begin}{token * next(counts)}{stop}{part}" for part in rest)
        return self.encode(text)

    def _pad(self, rows: Sequence[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        width = max(map(len, rows))
        ids = torch.full((len(rows), width), self.tokenizer.pad_token_id)
        mask = torch.zeros_like(ids)
        for i, row in enumerate(rows):
            ids[i, width - len(row) :] = torch.tensor(row)
            mask[i, width - len(row) :] = 1
        return ids, mask

    def prompts(self, examples: Sequence[Example]) -> dict[str, torch.Tensor]:
        """The same inputs without the answers, for generation."""
        batch = self(examples)
        audio, images = iter(batch.audio_tokens), iter(self._image_counts(batch))
        rows = [self._prompt(example, audio, images) for example in examples]
        ids, mask = self._pad(rows)
        return batch.inputs | {"input_ids": ids, "attention_mask": mask}

    @staticmethod
    def _image_counts(batch: Batch) -> list[int]:
        positions = batch.inputs.get("image_position_ids")
        if positions is None:
            return []
        return ((positions >= 0).all(-1).sum(-1) // POOL**2).tolist()
