"""Logits of a checkpoint by transformers, in a process of its own: ``python FILE FOLDER``.

The one file of the package that imports torch and transformers, and nothing imports it. FOLDER
holds ``request.json`` (checkpoint, dtype, prompts, positions) and an ``.npz`` of inputs for each
prompt; logits (positions, vocab) in float32 are written beside them, and ``versions.json``.
"""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def main(folder: Path) -> None:
    """Answer the request in ``folder``."""
    import torch
    import transformers

    request = json.loads((folder / "request.json").read_text())
    dtype = getattr(torch, request["dtype"])
    model = _load(request["checkpoint"], dtype)
    for name in request["prompts"]:
        inputs = {}
        for key, array in np.load(folder / f"{name}.npz").items():
            tensor = torch.from_numpy(array)
            inputs[key] = tensor.to(dtype) if tensor.is_floating_point() else tensor
            if key.endswith(("ids", "attention_mask")):
                inputs[key] = tensor.long()
        with torch.no_grad():
            keep = min(request["positions"], inputs["input_ids"].shape[1])
            logits = model(**inputs, logits_to_keep=keep, use_cache=False).logits
        np.save(folder / f"{name}.npy", logits[0].float().numpy())
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    (folder / "versions.json").write_text(json.dumps(versions))


def _load(checkpoint: str, dtype: "torch.dtype") -> "torch.nn.Module":
    import transformers

    transformers.logging.set_verbosity_error()
    config = transformers.AutoConfig.from_pretrained(checkpoint, local_files_only=True)
    kinds = {"gemma4": "Gemma4ForConditionalGeneration", "gemma4_text": "Gemma4ForCausalLM"}
    model = getattr(transformers, kinds[config.model_type]).from_pretrained(
        checkpoint, dtype=dtype, attn_implementation="eager", local_files_only=True
    )
    # The one way to run experts that needs no kernel for this device.
    text = getattr(model.config, "text_config", model.config)
    text._experts_implementation = "eager"
    return model.eval()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
