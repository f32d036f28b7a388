"""Score a checkpoint: `python evaluate.py --data DIR --model DIR [--json]`.

Free-running greedy decoding with the reference implementation, on recordings, pictures and
conversations that were never trained on (the question set is, of course, the trained one).
Development recordings only: the dataset's own test set stays unopened for whoever tests this model.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from transformers import Gemma4ForConditionalGeneration

from author import Author
from collator import Collator
from exam import full_windows, long_sequences, pictures, questions, short_sequences, silences
from examples import Example
from judge import answer
from scores import share_right, word_error_rate
from speech import DEV_INDICES, SPEAKERS, UNSEEN_SPEAKER, Clips


def report(data: Path, model_folder: Path, size: int) -> dict[str, float]:
    """All the figures; `size` recordings a group."""
    model = Gemma4ForConditionalGeneration.from_pretrained(model_folder, dtype=torch.float32)
    collate = Collator.from_dir(model_folder)
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
