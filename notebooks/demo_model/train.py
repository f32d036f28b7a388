"""Train the demo model: `python train.py --data DIR --out DIR [--resume]`.

Four stages. *Ears*: the audio tower alone learns to spell digits with a CTC head on its projected
tokens; token loss through the decoder teaches an untrained tower nothing for a long time. *Eyes*:
the vision tower learns to say of each of its tokens which colour and shape it sees. *Words*: all
but the audio tower learns pictures and conversations. Then the CTC head's rows become the decoder's
embeddings of the digit words, so that the tower's tokens arrive as blurred words, and the decoder
learns to read both towers, *together*: at first with the towers frozen and each batch used several
times, then with them. The helpers' heads are thrown away in the end.

`torchrun --nproc-per-node 2 train.py …` uses two processes of one thread each, which on two cores
is faster than one process of two threads: most operations are too small to be worth sharing.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import distributed, nn
from transformers import AutoTokenizer, Gemma4ForConditionalGeneration, Gemma4ImageProcessorPil
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.gemma4.modeling_gemma4 import Gemma4AudioModelOutput

import checkpoint
import evaluate
import features
import tokenizer as demo_tokenizer
from chats import IGNORED, Author, Batch, Collator, Example
from guide import Guide
from scenes import COLOURS, MOST, SHAPES
from speech import DEV_INDICES, SPEAKERS, TRAIN_INDICES, WORDS, Clips, Utterance, spoken, wordless

CTC_WEIGHT = 0.5
SIGHT_WEIGHT = 0.5
GUIDE_WEIGHT = 0.3
COUNT_WEIGHT = 0.1
EMA_DECAY = 0.998
FIELDS = (
    "stage", "step", "minutes", "rate", "token_loss", "ctc_loss", "sight_loss", "chat_loss",
    "guide_loss", "count_loss", "token_accuracy", "wer_short", "wer_long", "scenes", "questions",
)  # fmt: skip

RANK = int(os.environ.get("RANK", "0"))
WORLD = int(os.environ.get("WORLD_SIZE", "1"))


# Classes of colour, kind and place, each with one for the background.
SIGHTS = (1 + len(COLOURS), 1 + len(SHAPES), 1 + MOST)


class Model(nn.Module):
    """The demo model and the helpers of its training: a CTC head, a sight head, a guide."""

    def __init__(self, gemma: Gemma4ForConditionalGeneration) -> None:
        super().__init__()
        self.gemma = gemma
        self.ctc = nn.Linear(gemma.config.text_config.hidden_size, 1 + len(WORDS))
        nn.init.normal_(self.ctc.weight, std=self.ctc.in_features**-0.5)
        for module in gemma.modules():  # open bounds clip nothing, and cost a third of the time
            if hasattr(module, "use_clipped_linears"):
                module.use_clipped_linears = False
        self.eyes = nn.Linear(self.ctc.in_features, sum(SIGHTS))
        self.guide = Guide(gemma)
        self.known: Batch | None = None
        self.listen = gemma.model.get_audio_features
        self.look = gemma.model.get_image_features
        gemma.model.get_audio_features = self._listen_or_remember
        gemma.model.get_image_features = self._look_or_remember

    def _listen_or_remember(
        self, input_features: torch.Tensor, input_features_mask: torch.Tensor, **kwargs: Any
    ) -> Gemma4AudioModelOutput:
        """In the reference model's place: skip the tower where its tokens are known already."""
        if self.known is None or self.known.heard is None:
            return self.listen(input_features, input_features_mask, **kwargs)
        tokens = self.known.heard[None]
        mask = torch.ones(tokens.shape[:2], dtype=torch.bool)
        return Gemma4AudioModelOutput(attention_mask=mask, pooler_output=tokens)

    def _look_or_remember(
        self, pixel_values: torch.Tensor, image_position_ids: torch.Tensor, **kwargs: Any
    ) -> BaseModelOutputWithPooling:
        """The same for pictures."""
        if self.known is None or self.known.seen is None:
            return self.look(pixel_values, image_position_ids, **kwargs)
        return BaseModelOutputWithPooling(pooler_output=(self.known.seen,))

    def ctc_loss(
        self, tokens: torch.Tensor, lengths: list[int], words: list[list[int]]
    ) -> torch.Tensor:
        """A digit's loss; `tokens` are those of all recordings, one after the other."""
        padded = nn.utils.rnn.pad_sequence(list(tokens.split(lengths)))
        loss = F.ctc_loss(
            self.ctc(padded).log_softmax(-1),
            torch.tensor([word for row in words for word in row], dtype=torch.long),
            torch.tensor(lengths),
            torch.tensor([len(row) for row in words]),
            reduction="sum",
            zero_infinity=True,
        )
        return loss / max(1, sum(map(len, words)))

    def sight_loss(self, tokens: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
        """What colour and what kind of shape each image token sees, and which from the left."""
        answers = self.eyes(tokens).split(SIGHTS, dim=-1)
        return sum(F.cross_entropy(logits, cells[:, i]) for i, logits in enumerate(answers))

    def hear(self, waves: list[np.ndarray]) -> tuple[torch.Tensor, list[int]]:
        """Projected audio tokens of all recordings, and how many each has."""
        mel, mask = features.batch(waves)
        for row in mel:  # a band of the spectrum is missing now and then (SpecAugment)
            if np.random.random() < 0.3:
                width = np.random.randint(1, 9)
                start = np.random.randint(0, mel.shape[2] - width)
                row[:, start : start + width] = row.mean()
        heard = self.listen(mel, mask, return_dict=True)
        valid = heard.attention_mask
        return heard.pooler_output[valid], valid.sum(-1).tolist()

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Token loss of the answers, and the helpers of the ears and the eyes."""
        width = batch.labels.shape[1]
        self.known = batch
        self.guide.watch(batch.places)
        out = self.gemma(**batch.inputs, logits_to_keep=width + 1, use_cache=False)
        self.known = None
        logits = out.logits[:, :-1].float()
        found = {
            "token": F.cross_entropy(
                logits.flatten(0, 1), batch.labels.flatten(), ignore_index=IGNORED
            )
        }
        known = batch.labels != IGNORED
        found["accuracy"] = (logits.argmax(-1) == batch.labels)[known].float().mean()
        found["guide"], found["count"] = self.guide.losses(batch.counts)
        found["helper"] = GUIDE_WEIGHT * found["guide"] + COUNT_WEIGHT * found["count"]
        if batch.cells is not None and batch.seen is None:
            sight = self.sight_loss(out.image_hidden_states, batch.cells)
            found["helper"] = found["helper"] + SIGHT_WEIGHT * sight
        if batch.audio_tokens and batch.heard is None:
            found["ctc"] = self.ctc_loss(out.audio_hidden_states, batch.audio_tokens, batch.words)
            found["helper"] = found["helper"] + CTC_WEIGHT * found["ctc"]
        return found


def is_ears(name: str) -> bool:
    """Whether a parameter is trained by hearing alone."""
    return "audio" in name or name.startswith("ctc")


def is_tower(name: str) -> bool:
    """Whether a parameter comes before the decoder."""
    return is_ears(name) or "vision" in name or name.startswith("eyes")


class Memory:
    """Batches met lately, with what the towers made of them. While the towers are frozen each is
    used several times: they cost more than the decoder that learns to read them."""

    def __init__(self, model: Model, batches: Iterator[Batch]) -> None:
        self.model, self.batches = model, batches
        self.kept: list[Batch] = []

    def draw(self, rng: np.random.Generator) -> Batch:
        if len(self.kept) >= 16 and rng.random() < 0.75:
            return self.kept[rng.integers(len(self.kept))]
        batch = next(self.batches)
        inputs = batch.inputs
        with torch.no_grad():
            if "input_features" in inputs:
                heard = self.model.listen(
                    inputs["input_features"], inputs["input_features_mask"], return_dict=True
                )
                batch.heard = heard.pooler_output[heard.attention_mask]
            if "pixel_values" in inputs:
                seen = self.model.look(
                    inputs["pixel_values"], inputs["image_position_ids"], return_dict=True
                )
                batch.seen = torch.cat(seen.pooler_output)
        if len(self.kept) == 64:
            self.kept.pop(int(rng.integers(64)))
        self.kept.append(batch)
        return batch


def average_gradients(model: nn.Module) -> None:
    """One all-reduce of all gradients; a parameter unused in this process counts as zero."""
    if WORLD == 1:
        return
    parameters = list(model.parameters())
    flat = torch.cat(
        [(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters]
    )
    distributed.all_reduce(flat)
    flat /= WORLD
    for p, part in zip(parameters, flat.split([p.numel() for p in parameters])):
        p.grad = part.view_as(p)


class Trainer:
    """Optimizer, schedule, moving average, log and checkpoints of one stage."""

    def __init__(self, model: Model, args: argparse.Namespace, stage: str, steps: int) -> None:
        self.model, self.stage, self.steps = model, stage, steps
        self.path = args.out / f"{stage}.pt"
        self.log_path = args.out / f"log_{stage}.csv"
        self.step = 0
        self.seconds = 0.0
        ears, rest = [], []
        for name, parameter in model.named_parameters():
            (ears if is_ears(name) else rest).append(parameter)
        self.rates = {
            "ears": (6e-4, 0.0),
            "eyes": (0.0, 1e-3),
            "words": (0.0, 1.5e-3),
            "together": (args.rate_ears, args.rate),
        }[stage]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": [p for p in group if (p.ndim > 1) == matrix], "base": rate,
                 "weight_decay": 0.01 if matrix else 0.0}
                for group, rate in zip((ears, rest), self.rates)
                for matrix in (True, False)
            ],
            lr=0.0,
            betas=(0.9, 0.98),
        )  # fmt: skip
        self.average = {name: p.detach().clone() for name, p in model.named_parameters()}
        self.running: dict[str, float] = {}
        self.started = time.monotonic()
        if args.resume and self.path.exists():
            self._restore()

    def rate(self) -> float:
        """Linear warm-up, a long plateau, and a half cosine to zero over the last 40 %."""
        left = min(1.0, max(0.0, (1 - self.step / self.steps) / 0.4))
        return min(1.0, (self.step + 1) / 200) * (0.5 - 0.5 * math.cos(math.pi * left))

    def update(self, *, frozen_towers: bool = False) -> None:
        """Apply the gathered gradients."""
        average_gradients(self.model)
        for name, parameter in self.model.named_parameters():
            if frozen_towers and is_tower(name):
                parameter.grad = None
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = group["base"] * self.rate()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1
        decay = min(EMA_DECAY, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                self.average[name].lerp_(parameter, 1 - decay)

    def note(self, **values: float) -> None:
        for name, value in values.items():
            self.running[name] = 0.97 * self.running.get(name, value) + 0.03 * value

    def minutes(self) -> float:
        return (self.seconds + time.monotonic() - self.started) / 60

    def write_log(self, **scores: float) -> None:
        row = {"stage": self.stage, "step": self.step, "minutes": self.minutes(),
               "rate": self.rate() * max(self.rates)} | self.running | scores  # fmt: skip
        print({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}, flush=True)
        fresh = not self.log_path.exists()
        with self.log_path.open("a", newline="") as file:
            writer = csv.DictWriter(file, FIELDS, extrasaction="ignore")
            if fresh:
                writer.writeheader()
            writer.writerow({k: f"{v:.5g}" if isinstance(v, float) else v for k, v in row.items()})

    def save(self) -> None:
        temporary = self.path.with_suffix(".part")
        torch.save(
            {
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "average": self.average,
                "running": self.running,
                "step": self.step,
                "seconds": self.minutes() * 60,
            },
            temporary,
        )
        temporary.replace(self.path)

    def averaged(self) -> dict[str, torch.Tensor]:
        """The model's state with the averaged parameters, rounded as they will be saved."""
        rounded = {name: p.to(torch.bfloat16).float() for name, p in self.average.items()}
        return self.model.state_dict() | rounded

    def _restore(self) -> None:
        state = torch.load(self.path)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        for group, rate in zip(self.optimizer.param_groups, np.repeat(self.rates, 2)):
            group["base"] = float(rate)
        self.average, self.running = state["average"], state["running"]
        self.step, self.seconds = state["step"], state["seconds"]


def seeded(stage: int, step: int) -> np.random.Generator:
    """Random numbers that depend on nothing but the place in the training: resuming is exact."""
    np.random.seed((stage * 1_000_003 + step * WORLD + RANK) % 2**32)
    return np.random.default_rng([stage, step, RANK])


def recordings(clips: Clips, early: bool) -> Iterator[list[Utterance]]:
    """Endless batches of about a minute and a half of sound, each of similar lengths."""
    budget = 90.0 / WORLD
    pool = 0
    while True:
        rng = seeded(1, pool)
        pool += 1
        drawn = []
        for _ in range(96):
            kind = rng.random()
            low, high = (1, 4) if early else (7, 30) if kind > 0.95 else (1, 7)
            if kind < 0.02 and not early:
                drawn.append(wordless(rng, rng.uniform(0.3, 8)))
            else:
                drawn.append(spoken(clips, rng, int(rng.integers(low, high)), augment=True))
        drawn.sort(key=lambda utterance: utterance.seconds)
        batches: list[list[Utterance]] = [[]]
        for utterance in drawn:
            if batches[-1] and (len(batches[-1]) + 1) * utterance.seconds > budget:
                batches.append([])
            batches[-1].append(utterance)
        for i in rng.permutation(len(batches)):
            yield batches[i]


def train_ears(model: Model, args: argparse.Namespace) -> None:
    """Stage one: the audio tower spells digits, first up to three, then up to thirty."""
    trainer = Trainer(model, args, "ears", args.ears_steps)
    clips = Clips(args.data, SPEAKERS, TRAIN_INDICES)
    easy, full = recordings(clips, early=True), recordings(clips, early=False)
    while trainer.step < trainer.steps:
        heard = next(easy if trainer.step < trainer.steps // 4 else full)
        tokens, lengths = model.hear([utterance.samples for utterance in heard])
        words = [[1 + WORDS.index(word) for word in u.text.split()] for u in heard]
        loss = model.ctc_loss(tokens, lengths, words)
        loss.backward()
        trainer.note(ctc_loss=loss.item())
        trainer.update()
        if RANK == 0 and trainer.step % 50 == 0:
            trainer.write_log()
        if RANK == 0 and trainer.step % 200 == 0:
            trainer.save()
    if RANK == 0:
        trainer.save()


def train_eyes(model: Model, args: argparse.Namespace) -> None:
    """Stage two: the vision tower says of each of its tokens what it sees."""
    trainer = Trainer(model, args, "eyes", args.eyes_steps)
    collate = collator(args)
    clips = Clips(args.data, SPEAKERS, TRAIN_INDICES)
    while trainer.step < trainer.steps:
        batch = collate(Author(clips, seeded(5, trainer.step)).scenes(8))
        seen = model.gemma.model.get_image_features(
            batch.inputs["pixel_values"], batch.inputs["image_position_ids"], return_dict=True
        )
        loss = model.sight_loss(torch.cat(seen.pooler_output), batch.cells)
        loss.backward()
        trainer.note(sight_loss=loss.item())
        trainer.update()
        if RANK == 0 and trainer.step % 50 == 0:
            trainer.write_log()
    if RANK == 0:
        trainer.save()


def train_words(model: Model, args: argparse.Namespace) -> None:
    """Stage three: pictures and conversations, without sound."""
    seen = torch.load(args.out / "eyes.pt")["average"]
    model.load_state_dict({n: p for n, p in seen.items() if is_tower(n)}, strict=False)
    trainer = Trainer(model, args, "words", args.words_steps)
    collate = collator(args)
    clips = Clips(args.data, SPEAKERS, TRAIN_INDICES)
    while trainer.step < trainer.steps:
        author = Author(clips, seeded(2, trainer.step))
        for examples in (author.scenes(8), author.talks(12, media=False)):
            found = model.losses(collate(examples))
            (found["token"] + found["helper"]).backward()
            trainer.note(chat_loss=found["token"].item(), token_accuracy=found["accuracy"].item())
        trainer.update()
        if RANK == 0 and trainer.step % 50 == 0:
            trainer.write_log()
        if RANK == 0 and trainer.step % 200 == 0:
            trainer.save()
    if RANK == 0:
        trainer.save()


def begin_with(model: Model, folder: Path) -> None:
    """Go on from the weights of a checkpoint. The helpers' heads, which no checkpoint has, begin
    anew."""
    weights = load_file(folder / "model.safetensors")
    state = {f"gemma.{name}": tensor.float() for name, tensor in weights.items()}
    _, unexpected = model.load_state_dict(state, strict=False)
    if unexpected:
        raise SystemExit(f"{folder} is of another shape: {unexpected[0]}")
    model.gemma.tie_weights()


def join_stages(model: Model, args: argparse.Namespace) -> None:
    """Ears and words into one model; the digits' embeddings point where the CTC head looks."""
    state = torch.load(args.out / "words.pt")["average"]
    heard = torch.load(args.out / "ears.pt")["average"]
    state |= {name: p for name, p in heard.items() if is_ears(name)}
    model.load_state_dict(state, strict=False)
    embedding = model.gemma.model.language_model.embed_tokens.weight
    tokenizer = demo_tokenizer.build()
    with torch.no_grad():
        for digit, word in enumerate(WORDS):
            for text in (word, f" {word}"):
                row = embedding[tokenizer.encode(text).ids[0]]
                direction = F.normalize(model.ctc.weight[1 + digit], dim=0)
                row.copy_(0.3 * row + direction * row.norm())


def collator(args: argparse.Namespace) -> Collator:
    folder = args.out / "hf"
    return Collator(
        AutoTokenizer.from_pretrained(folder), Gemma4ImageProcessorPil.from_pretrained(folder)
    )


def train_together(model: Model, args: argparse.Namespace) -> None:
    """Stage four: transcription, pictures and conversations through the whole model."""
    trainer = Trainer(model, args, "together", args.steps)
    collate = collator(args)
    clips = Clips(args.data, SPEAKERS, TRAIN_INDICES)
    judge = evaluate.Judge(
        Clips(args.data, SPEAKERS, DEV_INDICES), collate, short=48, long=8, scenes=40
    )
    sounds, pictures, talks, mixed = (
        Memory(model, (collate(examples) for examples in source))
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
        if "ctc" in found:
            trainer.note(ctc_loss=found["ctc"].item())
        (found["token"] + found["helper"]).backward()
        trainer.note(token_loss=found["token"].item(), token_accuracy=found["accuracy"].item())
        trainer.note(guide_loss=found["guide"].item(), count_loss=found["count"].item())
        turn = turns[trainer.step % len(turns)]
        if turn is not None:
            found = model.losses(turn.draw(rng) if frozen else next(turn.batches))
            (found["token"] + found["helper"]).backward()
            trainer.note(chat_loss=found["token"].item())
        trainer.update(frozen_towers=frozen)
        if trainer.step % args.every == 0 or trainer.step == trainer.steps:
            if RANK == 0:
                trainer.save()
                _judge(trainer, judge, args)
        elif RANK == 0 and trainer.step % 25 == 0:
            trainer.write_log()


def drawn(
    clips: Clips, start: int, stream: int, draw: Callable[[Author], list[Example]]
) -> Iterator[list[Example]]:
    """Endless examples of one kind."""
    for step in itertools.count(start):
        yield draw(Author(clips, seeded(stream, step)))


def transcriptions(clips: Clips, start: int) -> Iterator[list[Example]]:
    """Endless batches of recordings to transcribe: short ones and ones of up to 30 s."""
    pool = start
    while True:
        rng = seeded(4, pool)
        author = Author(clips, rng)
        batches = [b for size in ("short", "medium", "long") for b in author.digits(size)]
        for i in rng.permutation(len(batches)):
            yield batches[i]
        pool += 1


def _judge(trainer: Trainer, judge: evaluate.Judge, args: argparse.Namespace) -> None:
    """Score and export the averaged weights, then go on with the others."""
    model = trainer.model
    current = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.load_state_dict(trainer.averaged())
    scores = judge(model.gemma)
    trainer.write_log(**scores)
    checkpoint.save(model.gemma, demo_tokenizer.build(), args.out / "hf")
    (args.out / "scores.json").write_text(json.dumps({"step": trainer.step} | scores, indent=2))
    model.load_state_dict(current)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", type=Path, required=True, help="folder of {digit}_{speaker}_{n}.wav"
    )
    parser.add_argument("--out", type=Path, required=True, help="checkpoints, log and hf/")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument(
        "--stage", choices=("ears", "eyes", "words", "together", "all"), default="all"
    )
    parser.add_argument("--begin", type=Path, help="a checkpoint to go on from, with --stage")
    parser.add_argument("--ears-steps", type=int, default=1800)
    parser.add_argument("--eyes-steps", type=int, default=600)
    parser.add_argument("--words-steps", type=int, default=200)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--frozen", type=int, default=3000, help="steps with frozen towers")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--rate-ears", type=float, default=3e-4)
    parser.add_argument("--every", type=int, default=250, help="steps between evaluations")
    parser.add_argument("--threads", type=int, default=0)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.threads:
        torch.set_num_threads(args.threads)
    if WORLD > 1:
        distributed.init_process_group("gloo")
    torch.manual_seed(0)
    tokenizer = demo_tokenizer.build()
    demo_tokenizer.check(tokenizer)
    model = Model(checkpoint.new_model(tokenizer))
    if RANK == 0 and not (args.out / "hf").exists():
        checkpoint.save(model.gemma, tokenizer, args.out / "hf")
    if WORLD > 1:
        distributed.barrier()
    if args.begin is not None:
        begin_with(model, args.begin)
    if args.stage in ("ears", "all"):
        train_ears(model, args)
    if args.stage in ("eyes", "all"):
        train_eyes(model, args)
    if args.stage in ("words", "all"):
        train_words(model, args)
    if args.stage in ("together", "all"):
        if args.begin is None:
            join_stages(model, args)
        train_together(model, args)


if __name__ == "__main__":
    main()
