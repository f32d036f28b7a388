"""The four stages of the training: ears, eyes, words, together."""

from __future__ import annotations

import argparse
import json

import checkpoint
import features
import tokenizer as demo_tokenizer
from author import Author
from collator import Collator
from handover import join_stages, take_eyes
from judge import Judge
from model import Model
from processes import RANK
from replay import Replay
from speech import DEV_INDICES, SPEAKERS, TRAIN_INDICES, Clips, spelled
from streams import drawn, drop_bands, recordings, seeded, transcriptions
from trainer import Trainer


def train_ears(model: Model, args: argparse.Namespace) -> None:
    """The audio tower spells digits, first up to three, then up to thirty."""
    trainer = Trainer(model, args, "ears", args.ears_steps, rates=(6e-4, 0.0))
    clips = Clips(args.data, SPEAKERS, TRAIN_INDICES)
    easy, full = recordings(clips, early=True), recordings(clips, early=False)
    for step in trainer.remaining_steps():
        heard = next(easy if step < trainer.steps // 4 else full)
        mel, mask = features.batch([utterance.samples for utterance in heard])
        drop_bands(mel)
        tokens, lengths = model.hear(mel, mask)
        loss = model.ctc_loss(tokens, lengths, [spelled(utterance.text) for utterance in heard])
        loss.backward()
        trainer.note(ctc_loss=loss.item())
        trainer.update()


def train_eyes(model: Model, args: argparse.Namespace) -> None:
    """The vision tower says of each of its tokens what it sees."""
    trainer = Trainer(model, args, "eyes", args.eyes_steps, rates=(0.0, 1e-3))
    collate = Collator.from_dir(args.out / "hf")
    clips = Clips(args.data, SPEAKERS, TRAIN_INDICES)
    for step in trainer.remaining_steps():
        batch = collate(Author(clips, seeded(5, step)).scenes(8))
        seen = model.see(batch.inputs["pixel_values"], batch.inputs["image_position_ids"])
        loss = model.sight_loss(seen, batch.cells)
        loss.backward()
        trainer.note(sight_loss=loss.item())
        trainer.update()


def train_words(model: Model, args: argparse.Namespace) -> None:
    """All but the ears learns pictures and conversations, without sound."""
    take_eyes(model, args.out)
    trainer = Trainer(model, args, "words", args.words_steps, rates=(0.0, 1.5e-3))
    collate = Collator.from_dir(args.out / "hf")
    clips = Clips(args.data, SPEAKERS, TRAIN_INDICES)
    for step in trainer.remaining_steps():
        author = Author(clips, seeded(2, step))
        for examples in (author.scenes(8), author.talks(12, media=False)):
            found = model.losses(collate(examples))
            found["loss"].backward()
            trainer.note(chat_loss=found["token"].item(), token_accuracy=found["accuracy"].item())
        trainer.update()


def train_together(model: Model, args: argparse.Namespace) -> None:
    """Transcription, pictures and conversations through the whole model."""
    if args.begin is None:
        join_stages(model, args.out)
    trainer = Trainer(model, args, "together", args.steps, rates=(args.rate_ears, args.rate))
    collate = Collator.from_dir(args.out / "hf", slips=True)
    clips = Clips(args.data, SPEAKERS, TRAIN_INDICES)
    judge = Judge(Clips(args.data, SPEAKERS, DEV_INDICES), collate, short=48, long=8, scenes=40)
    sounds, pictures, talks, mixed = (
        Replay(model, (collate(examples) for examples in source))
        for source in (
            transcriptions(clips, trainer.step),
            drawn(clips, trainer.step, 6, lambda author: author.scenes(6)),
            drawn(clips, trainer.step, 7, lambda author: author.talks(6, media=False)),
            drawn(clips, trainer.step, 8, lambda author: author.talks(4, media=True)),
        )
    )
    turns = (pictures, None, talks, None, mixed, None)
    while trainer.step < trainer.steps:
        rng = seeded(3, trainer.step)
        frozen = trainer.step < args.frozen
        found = model.losses(sounds.draw(rng) if frozen else next(sounds.batches))
        found["loss"].backward()
        if "ctc" in found:
            trainer.note(ctc_loss=found["ctc"].item())
        trainer.note(token_loss=found["token"].item(), token_accuracy=found["accuracy"].item())
        for helper in ("guide", "count", "last"):
            trainer.note(**{f"{helper}_loss": found[helper].item()})
        turn = turns[trainer.step % len(turns)]
        if turn is not None:
            found = model.losses(turn.draw(rng) if frozen else next(turn.batches))
            found["loss"].backward()
            trainer.note(chat_loss=found["token"].item())
        trainer.update(frozen_towers=frozen)
        if RANK > 0:
            continue
        if trainer.step % args.every == 0 or trainer.step == trainer.steps:
            trainer.save()
            score_and_export(trainer, judge, args)
        elif trainer.step % 25 == 0:
            trainer.write_log()


def score_and_export(trainer: Trainer, judge: Judge, args: argparse.Namespace) -> None:
    """Do both with the averaged weights, then go on with the others."""
    model = trainer.model
    current = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.load_state_dict(trainer.averaged())
    scores = judge(model.gemma)
    trainer.write_log(**scores)
    checkpoint.save(model.gemma, demo_tokenizer.build(), args.out / "hf")
    (args.out / "scores.json").write_text(json.dumps({"step": trainer.step} | scores, indent=2))
    model.load_state_dict(current)


# In the order in which they are gone through.
STAGES = {"ears": train_ears, "eyes": train_eyes, "words": train_words, "together": train_together}
