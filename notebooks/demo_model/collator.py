"""How examples become a batch of tensors.

Every conversation is rendered through the release's chat template. Only the last model turn is
learned. Batches are padded on the left, so that the answers end together and the reference model
can skip the KV-shared layers for everything before them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import AutoTokenizer, Gemma4ImageProcessorPil, PreTrainedTokenizerBase

import features
from examples import Example, is_naming, is_transcription
from places import heard_where, seen_where
from slips import Reply, flawless, slipped
from speech import spelled

POOL = 3  # patches to an image token, each way
IGNORED = -100  # torch's label for a position that has no target


@dataclass
class Batch:
    """Inputs under the reference model's names; labels (B, N) for its last N positions."""

    inputs: dict[str, torch.Tensor]
    labels: torch.Tensor
    words: list[list[int]]  # 1 + digit for every recording, in the order of input_features
    audio_tokens: list[int]  # of every recording
    image_tokens: list[int]  # of every picture
    cells: torch.Tensor | None  # (image tokens, 3): colour, kind and place of what each sees
    # What the trainer knows of where the words of the answer stand; see places.py.
    places: torch.Tensor | None = None  # (B, N, L)
    begun: torch.Tensor | None = None  # (B, L, 1 + LAST_WORDS)
    # The towers' projected tokens, where they were computed before.
    heard: torch.Tensor | None = None
    seen: torch.Tensor | None = None


class Collator:
    """Examples to tensors; with ``slips``, transcripts in which something went wrong."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        images: Gemma4ImageProcessorPil,
        *,
        slips: bool = False,
    ) -> None:
        self.tokenizer = tokenizer
        self.images = images
        self.slips = slips

    @classmethod
    def from_dir(cls, folder: Path, *, slips: bool = False) -> Collator:
        """With the tokenizer and the picture settings of a checkpoint."""
        return cls(
            AutoTokenizer.from_pretrained(folder),
            Gemma4ImageProcessorPil.from_pretrained(folder),
            slips=slips,
        )

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
            grids = ((processed["image_position_ids"].amax(1) + 1) // POOL).tolist()
            cells = np.concatenate([scene.cells(*grid) for scene, grid in zip(seen, grids)])
        recordings = [features.tokens(len(utterance.samples)) for utterance in heard]
        if heard:
            mel, mask = features.batch([utterance.samples for utterance in heard])
            inputs["input_features"], inputs["input_features_mask"] = mel, mask
        questions = self._questions(examples, recordings, pictures)
        transcribed = all(map(is_transcription, examples))
        replies = [self._reply(example, slips=self.slips and transcribed) for example in examples]
        ids, inputs["attention_mask"] = self._pad(
            [question + reply.written for question, reply in zip(questions, replies)]
        )
        inputs["input_ids"] = ids
        longest = max(len(reply.wanted) for reply in replies)
        labels = torch.full((len(examples), longest), IGNORED)
        for row, reply in zip(labels, replies):
            row[longest - len(reply.wanted) :] = torch.tensor(reply.wanted)
        batch = Batch(
            inputs,
            labels,
            words=[spelled(utterance.text) for utterance in heard],
            audio_tokens=recordings,
            image_tokens=pictures,
            cells=torch.from_numpy(cells) if seen else None,
        )
        if transcribed:
            audio = self.tokenizer.audio_token_id
            due = [reply.words for reply in replies]
            batch.places, batch.begun = heard_where(examples, due, ids, labels, audio)
        elif all(map(is_naming, examples)):
            batch.places = seen_where(examples, grids, ids, labels, self.tokenizer)
        return batch

    def prompts(self, examples: Sequence[Example]) -> dict[str, torch.Tensor]:
        """The same inputs without the answers, for generation."""
        batch = self(examples)
        ids, mask = self._pad(self._questions(examples, batch.audio_tokens, batch.image_tokens))
        return batch.inputs | {"input_ids": ids, "attention_mask": mask}

    def _reply(self, example: Example, *, slips: bool) -> Reply:
        ids = self.encode(example.answer + example.end)
        if not slips:
            return flawless(ids)
        # The trainer seeds NumPy's own generator before every batch.
        return slipped(ids, np.random.default_rng(np.random.randint(2**31)))

    def _questions(
        self, examples: Sequence[Example], audio_tokens: list[int], image_tokens: list[int]
    ) -> list[list[int]]:
        """The ids of every prompt, with so many placeholders for each recording and picture."""
        audio, images = iter(audio_tokens), iter(image_tokens)
        return [self._question(example, audio, images) for example in examples]

    def _question(self, example: Example, audio: Iterator[int], images: Iterator[int]) -> list[int]:
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
