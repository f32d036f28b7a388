"""Turn a training run into the checkpoint: `python finish.py --data DIR --run DIR --out DIR`.

Takes the averaged weights of the last stage, calibrates the clip bounds, writes the Hugging Face
layout to OUT/hf, and beside it one recording and one picture that the model gets right, for the
package to carry: digits.wav and scene.png, each with its text. The stages' logs become one,
training_log.csv.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import soundfile
import torch
from transformers import Gemma4ForConditionalGeneration

import checkpoint
import tokenizer as demo_tokenizer
from author import Author
from calibrate import calibrate
from collator import Collator
from exam import heard_as, pictures
from examples import Example
from judge import answer
from speech import (
    DEV_INDICES,
    RATE,
    SPEAKERS,
    TRAIN_INDICES,
    WORDS,
    Clips,
    Utterance,
    join,
    resample,
)
from stages import STAGES
from trainer import averaged_weights


def one_recording(clips: Clips, speaker: str, rng: np.random.Generator) -> Utterance:
    """Six digits by one speaker with natural pauses, at a moderate level."""
    digits = [int(digit) for digit in rng.choice(10, 6, replace=False)]
    waves = [clips.draw(rng, digit, speaker) for digit in digits]
    wave = join(waves, [float(p) for p in rng.uniform(0.12, 0.22, 5)], lead=0.15, tail=0.2)
    return Utterance(resample(0.5 * wave / np.abs(wave).max()), " ".join(WORDS[d] for d in digits))


def merge_logs(run: Path, out: Path) -> None:
    """The stages in the order they were run in, under one header."""
    logs = [run / f"log_{stage}.csv" for stage in STAGES]
    lines = [log.read_text(encoding="utf-8").splitlines() for log in logs if log.exists()]
    rows = [row for log in lines for row in log[1:]]
    out.write_text("\n".join([lines[0][0], *rows]) + "\n", encoding="utf-8")


def first_right(
    model: Gemma4ForConditionalGeneration, collate: Collator, asked: list[Example]
) -> Example:
    for example, reply in zip(asked, answer(model, collate, asked)):
        if example.answer == reply:
            return example
    raise SystemExit(f"the model answers none of {len(asked)} right, so it needs more training")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", type=Path, required=True, help="folder of {digit}_{speaker}_{n}.wav"
    )
    parser.add_argument("--run", type=Path, required=True, help="what train.py wrote")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    args = parser.parse_args()

    tokenizer = demo_tokenizer.build()
    model = checkpoint.new_model(tokenizer)
    average = averaged_weights(args.run, "together")
    state = {
        name.removeprefix("gemma."): p for name, p in average.items() if name.startswith("gemma.")
    }
    model.load_state_dict({n: p.to(torch.bfloat16).float() for n, p in state.items()}, strict=False)
    model.tie_weights()

    collate = Collator.from_dir(args.run / "hf")
    author = Author(Clips(args.data, SPEAKERS, TRAIN_INDICES), np.random.default_rng(7))
    sounds = [batch for size in ("short", "medium", "long") for batch in author.digits(size)]
    calibrate(model, (collate(b) for b in [*sounds, *(author.scenes(8) for _ in range(12))]))
    checkpoint.save(model, tokenizer, args.out / "hf")
    merge_logs(args.run, args.out / "training_log.csv")

    clips = Clips(args.data, SPEAKERS, DEV_INDICES)
    rng = np.random.default_rng(3)
    heard = [heard_as(one_recording(clips, SPEAKERS[i % 5], rng)) for i in range(10)]
    recording = first_right(model, collate, heard).audio[0]
    soundfile.write(args.out / "digits.wav", recording.samples, RATE, subtype="PCM_16")
    (args.out / "digits.txt").write_text(recording.text + "\n", encoding="utf-8")
    seen = pictures(9, seed=6)[2::3]  # three shapes each
    picture = first_right(model, collate, seen)
    picture.images[0].image.save(args.out / "scene.png", optimize=True)
    (args.out / "scene.txt").write_text(picture.answer + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
