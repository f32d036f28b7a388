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
from pathlib import Path

import torch
from torch import distributed

import checkpoint
import tokenizer as demo_tokenizer
from handover import begin_with
from model import Model
from processes import RANK, WORLD
from stages import STAGES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", type=Path, required=True, help="folder of {digit}_{speaker}_{n}.wav"
    )
    parser.add_argument("--out", type=Path, required=True, help="checkpoints, log and hf/")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--stage", choices=(*STAGES, "all"), default="all")
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
    for stage, train in STAGES.items():
        if args.stage in (stage, "all"):
            train(model, args)


if __name__ == "__main__":
    main()
