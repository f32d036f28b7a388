"""Write the goldens again: ``python -m tests.goldens.generate`` (needs torch and transformers).

A case is drawn again under the next seed while one of its 64 greedy decisions is closer than
``CLOSEST``: rounding alone could turn such a one, and the test would say nothing about the code.
"""

import json
import shutil

import numpy as np
import torch
from safetensors.numpy import save_file

from tests.goldens import FOLDER, GREEDY_TOKENS
from tests.reference import families
from tests.reference.inputs import case_names, make_case
from tests.reference.transformers_side import (
    config_in_5_23_style,
    make_checkpoint,
    reference_greedy,
    reference_logits,
    versions,
)

CLOSEST = 5e-3
WEIGHT_SEEDS = {"e2b": 11, "e4b": 12, "26b": 13, "31b": 14}


def generate(family: str) -> None:
    """Write the folder of one family."""
    folder = FOLDER / family
    shutil.rmtree(folder, ignore_errors=True)
    config = families.raw_config(family)
    weight_seed = WEIGHT_SEEDS[family]
    # Half of the families carry the unused k/v tensors, as half of the releases do.
    model = make_checkpoint(
        config, folder, weight_seed, with_unused_kv=family == "e2b", dtype=torch.bfloat16
    )
    other = json.dumps(config_in_5_23_style(config), indent=2)
    (folder / "config_5_23.json").write_text(other + "\n")

    expected: dict[str, np.ndarray] = {}
    seeds: dict[str, int] = {}
    gaps: dict[str, float] = {}
    for number, case in enumerate(case_names(family)):
        seed = 100 * (number + 1)
        while True:
            inputs = make_case(config, case, seed)
            tokens, gap = reference_greedy(model, inputs, GREEDY_TOKENS)
            if gap >= CLOSEST:
                break
            seed += 1
        expected[f"{case} logits"] = reference_logits(model, inputs)
        expected[f"{case} greedy"] = tokens[0].astype(np.int32)
        seeds[case], gaps[case] = seed, round(gap, 4)
    save_file(expected, folder / "expected.safetensors")
    meta = {
        "weight_seed": weight_seed,
        "case_seeds": seeds,
        "closest_greedy_decision": gaps,
        "versions": versions(),
    }
    (folder / "meta.json").write_text(json.dumps(meta, indent=2) + "\n")


def main() -> None:
    """Write the goldens of all four families."""
    for family in families.FAMILIES:
        generate(family)
        size = sum(file.stat().st_size for file in (FOLDER / family).iterdir())
        print(f"{family}: {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
