"""One stage of the training as a loop: optimizer, schedule, moving average, log and checkpoints."""

from __future__ import annotations

import argparse
import csv
import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

from model import Model, is_ears, is_tower
from processes import RANK, average_gradients

EMA_DECAY = 0.998
FIELDS = (
    "stage", "step", "minutes", "rate", "token_loss", "ctc_loss", "sight_loss", "chat_loss",
    "guide_loss", "count_loss", "last_loss", "token_accuracy", "wer_short", "wer_long", "scenes",
    "questions",
)  # fmt: skip


class Trainer:
    """What one stage needs around its losses. `rates` are the highest learning rates: of what is
    trained by hearing alone, and of all else."""

    def __init__(
        self,
        model: Model,
        args: argparse.Namespace,
        stage: str,
        steps: int,
        rates: tuple[float, float],
    ) -> None:
        self.model, self.stage, self.steps, self.rates = model, stage, steps, rates
        self.path = _state_file(args.out, stage)
        self.log_path = args.out / f"log_{stage}.csv"
        self.step = 0
        self.seconds = 0.0
        ears: list[nn.Parameter] = []
        rest: list[nn.Parameter] = []
        for name, parameter in model.named_parameters():
            (ears if is_ears(name) else rest).append(parameter)
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

    def remaining_steps(self) -> Iterator[int]:
        """The steps still to be made, each to be ended by `update`; logs and saves between them."""
        while self.step < self.steps:
            yield self.step
            if RANK == 0 and self.step % 50 == 0:
                self.write_log()
            if RANK == 0 and self.step % 200 == 0:
                self.save()
        if RANK == 0:
            self.save()

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


def averaged_weights(run: Path, stage: str) -> dict[str, torch.Tensor]:
    """The averaged parameters that a stage has saved."""
    return torch.load(_state_file(run, stage))["average"]


def _state_file(run: Path, stage: str) -> Path:
    return run / f"{stage}.pt"
