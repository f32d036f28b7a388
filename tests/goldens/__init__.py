"""Tiny checkpoints of the four families and what transformers computes with them.

``generate.py`` writes them (it needs torch); reading them needs neither torch nor transformers.
Each folder holds a checkpoint in Hugging Face layout (bfloat16, config.json in the released
style and config_5_23.json as transformers 5.23 writes it), ``expected.safetensors`` with logits
and greedy tokens of every case, and ``meta.json`` with seeds and versions.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from tests.reference import families
from tests.reference.inputs import Inputs, make_case

FOLDER = Path(__file__).parent
GREEDY_TOKENS = 64


def checkpoint(family: str) -> Path:
    """The checkpoint directory of a family."""
    return FOLDER / family


@cache
def meta(family: str) -> dict[str, Any]:
    """Seeds and versions the goldens of a family were made with."""
    return json.loads((FOLDER / family / "meta.json").read_text())


@cache
def config(family: str) -> dict[str, Any]:
    """The parsed config.json of the committed checkpoint."""
    return json.loads((FOLDER / family / "config.json").read_text())


@cache
def _expected(family: str) -> dict[str, np.ndarray]:
    return load_file(FOLDER / family / "expected.safetensors")


def inputs(family: str, case: str) -> Inputs:
    """The inputs of a case, made again from its seed."""
    return make_case(config(family), case, meta(family)["case_seeds"][case])


def logits(family: str, case: str) -> np.ndarray:
    """The reference's logits (1, L, V) in float32."""
    return _expected(family)[f"{case} logits"]


def greedy(family: str, case: str) -> list[int]:
    """The 64 tokens that transformers generates greedily after the prompt of the case."""
    return _expected(family)[f"{case} greedy"].tolist()


CASES = [
    (family, case)
    for family in families.FAMILIES
    if (FOLDER / family / "meta.json").exists()  # not yet, while they are being generated
    for case in meta(family)["case_seeds"]
]
