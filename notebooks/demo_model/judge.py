"""Replies by free-running greedy decoding with the reference implementation, and a quick score."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import Gemma4ForConditionalGeneration

from collator import Collator
from exam import long_sequences, pictures, questions, short_sequences
from examples import Example
from scores import share_right, word_error_rate
from speech import Clips


@torch.inference_mode()
def answer(
    model: Gemma4ForConditionalGeneration,
    collate: Collator,
    examples: Sequence[Example],
    *,
    together: int = 16,
    longest: int = 90,
) -> list[str]:
    """The model's greedy replies, control tokens and all but without the token that ends them."""
    tokenizer = collate.tokenizer
    ends = [tokenizer.convert_tokens_to_ids(t) for t in ("<eos>", "<turn|>", "<|tool_response>")]
    replies = []
    model.eval()
    for start in range(0, len(examples), together):
        inputs = collate.prompts(examples[start : start + together])
        out = model.generate(
            **inputs,
            do_sample=False,
            max_new_tokens=longest,
            eos_token_id=ends,
            pad_token_id=tokenizer.pad_token_id,
        )
        for row in out[:, inputs["input_ids"].shape[1] :].tolist():
            stop = next((i for i, token in enumerate(row) if token in ends), len(row))
            replies.append(tokenizer.decode(row[:stop]))
    return replies


class Judge:
    """The quick score that training watches."""

    def __init__(self, clips: Clips, collate: Collator, short: int, long: int, scenes: int) -> None:
        self.collate = collate
        self.short = short_sequences(clips, short, seed=1)
        self.long = long_sequences(clips, long, seed=1)
        self.scenes = pictures(scenes, seed=1)
        self.questions = questions(wordings=1)

    def __call__(self, model: Gemma4ForConditionalGeneration) -> dict[str, float]:
        def replies(examples: list[Example], together: int = 16, longest: int = 60) -> list[str]:
            return answer(model, self.collate, examples, together=together, longest=longest)

        return {
            "wer_short": word_error_rate(self.short, replies(self.short, longest=9)),
            "wer_long": word_error_rate(self.long, replies(self.long, 4, 65)),
            "scenes": share_right(self.scenes, replies(self.scenes, longest=14)),
            "questions": share_right(self.questions, replies(self.questions, 48)),
        }
