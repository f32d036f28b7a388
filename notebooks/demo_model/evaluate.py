"""Score a checkpoint: `python evaluate.py --data DIR --model DIR [--json]`.

Free-running greedy decoding with the reference implementation, on recordings, pictures and
conversations that were never trained on (the question set is, of course, the trained one).
Development recordings only: the dataset's own test set stays unopened for whoever tests this model.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import AutoTokenizer, Gemma4ForConditionalGeneration, Gemma4ImageProcessorPil

import prompts
from chats import Author, Collator, Example, user_turn
from scenes import draw_scene
from speech import (
    DEV_INDICES,
    SPEAKERS,
    UNSEEN_SPEAKER,
    Clips,
    Utterance,
    sparse,
    spoken,
    wordless,
)


def edits(said: Sequence[str], heard: Sequence[str]) -> int:
    """Levenshtein distance in words."""
    row = list(range(len(said) + 1))
    for word in heard:
        corner, row[0] = row[0], row[0] + 1
        for i, other in enumerate(said):
            corner, row[i + 1] = (
                row[i + 1],
                min(row[i + 1] + 1, row[i] + 1, corner + (word != other)),
            )
    return row[-1]


def word_error_rate(examples: Sequence[Example], replies: Sequence[str]) -> float:
    """All errors over all spoken words; what was said to silence counts as errors too."""
    pairs = [(example.answer.split(), reply.split()) for example, reply in zip(examples, replies)]
    return sum(edits(*pair) for pair in pairs) / max(1, sum(len(said) for said, _ in pairs))


def share_right(examples: Sequence[Example], replies: Sequence[str]) -> float:
    return sum(e.answer == reply for e, reply in zip(examples, replies)) / len(examples)


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


def heard_as(utterance: Utterance, prompt: str = prompts.TRANSCRIBE_ENGLISH) -> Example:
    """A recording under the app's prompt."""
    messages = [{"role": "user", "content": user_turn("audio", prompt)}]
    return Example(messages, utterance.text, audio=(utterance,))


def short_sequences(clips: Clips, count: int, seed: int) -> list[Example]:
    """One to six digits, as they would be recorded: several levels and pauses, one background."""
    rng = np.random.default_rng([seed, 1])
    drawn = [spoken(clips, rng, int(rng.integers(1, 7)), augment=False) for _ in range(count)]
    return [heard_as(u) for u in sorted(drawn, key=lambda u: u.seconds)]


def long_sequences(clips: Clips, count: int, seed: int) -> list[Example]:
    """Windows of up to 30 s: 7 to 60 digits, and now and then a few in a long silence."""
    rng = np.random.default_rng([seed, 2])
    drawn = []
    for i in range(count):
        seconds = rng.uniform(10, 29.9)
        if i % 6 == 5:
            drawn.append(sparse(clips, rng, int(rng.integers(2, 7)), seconds, augment=False))
        else:
            many = int(rng.integers(7, 61))
            drawn.append(spoken(clips, rng, many, augment=False, seconds=seconds))
    return [heard_as(u) for u in sorted(drawn, key=lambda u: u.seconds)]


def full_windows(clips: Clips, count: int, seed: int, manner: str) -> list[Example]:
    """Windows of 30 s as full of words as the pauses of this manner of speaking allow."""
    rng = np.random.default_rng([seed, 5])
    return [
        heard_as(spoken(clips, rng, 62, augment=False, seconds=29.9, manner=manner))
        for _ in range(count)
    ]


def silences(count: int, seed: int) -> list[Example]:
    rng = np.random.default_rng([seed, 3])
    return [heard_as(wordless(rng, rng.uniform(0.5, 10))) for _ in range(count)]


def pictures(count: int, seed: int) -> list[Example]:
    rng = np.random.default_rng([seed, 4])
    examples = []
    for i in range(count):
        scene = draw_scene(rng, 1 + i % 3)
        messages = [
            {"role": "user", "content": user_turn("image", prompts.LOOK[i % len(prompts.LOOK)])}
        ]
        examples.append(Example(messages, scene.text, images=(scene,)))
    return examples


def questions(*, wordings: int | None = None) -> list[Example]:
    """Every question of the set, in its first `wordings` wordings, and the unknown ones."""
    known = prompts.read_questions()
    return [
        Example([{"role": "user", "content": ask}], question.answer)
        for question in (*known.questions, known.unknown)
        for ask in question.ask[:wordings]
    ]


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


def report(data: Path, model_folder: Path, size: int) -> dict[str, float]:
    """All the figures; `size` recordings a group."""
    model = Gemma4ForConditionalGeneration.from_pretrained(model_folder, dtype=torch.float32)
    collate = Collator(
        AutoTokenizer.from_pretrained(model_folder),
        Gemma4ImageProcessorPil.from_pretrained(model_folder),
    )
    known = Clips(data, SPEAKERS, DEV_INDICES)
    stranger = Clips(data, (UNSEEN_SPEAKER,), range(5, 50))
    author = Author(known, np.random.default_rng(5))
    short, long = short_sequences(known, size, seed=2), long_sequences(known, size // 4, seed=2)
    full = full_windows(known, max(1, size // 5), 2, "natural")
    packed = full_windows(known, max(1, size // 5), 2, "tight")
    unseen, quiet = short_sequences(stranger, size, seed=3), silences(20, seed=2)
    seen, asked = pictures(size, seed=2), questions()
    talks = author.talks(60, media=True) + author.talks(60, media=False)

    def replies(examples: list[Example], together: int = 16) -> list[str]:
        return answer(model, collate, examples, together=together)

    short_replies = replies(short)
    return {
        "wer_1_to_6_digits": word_error_rate(short, short_replies),
        "sequences_1_to_6_digits_right": share_right(short, short_replies),
        "wer_windows_up_to_30_s": word_error_rate(long, replies(long, 4)),
        "wer_full_windows_natural_pauses": word_error_rate(full, replies(full, 4)),
        "wer_full_windows_no_pauses": word_error_rate(packed, replies(packed, 4)),
        "wer_unseen_speaker": word_error_rate(unseen, replies(unseen)),
        "silences_left_empty": share_right(quiet, replies(quiet)),
        "scenes_right": share_right(seen, replies(seen)),
        "questions_right": share_right(asked, replies(asked, 48)),
        "conversations_right": share_right(talks, replies(talks, 20)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", type=Path, required=True, help="folder of {digit}_{speaker}_{n}.wav"
    )
    parser.add_argument("--model", type=Path, default=Path(__file__).with_name("hf"))
    parser.add_argument("--size", type=int, default=200, help="recordings a group")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    figures = report(args.data, args.model, args.size)
    if args.json:
        print(json.dumps(figures, indent=2))
        return
    for name, value in figures.items():
        print(f"{name.replace('_', ' '):32} {100 * value:6.2f} %")


if __name__ == "__main__":
    main()
