"""The released models as the hub has them, all of their files a hole but the headers."""

import json
import math
from pathlib import Path
from typing import Any

from gemma4_mlx.config import Gemma4Config
from gemma4_mlx.released import released_config
from gemma4_mlx.tensor_shapes import borrowed_shapes, tensor_shapes

CONVOLUTIONS = ("conv.weight", "conv1d.weight")  # which PyTorch keeps channels first


def headers_of(family: str, folder: Path) -> Path:
    """A released model in Hugging Face layout, whose weights take no room on the disk."""
    raw = released_config(family)
    config = Gemma4Config.from_dict(raw)
    shapes = {
        path: [shape[0], shape[-1], *shape[1:-1]] if path.endswith(CONVOLUTIONS) else list(shape)
        for path, shape in (tensor_shapes(config) | borrowed_shapes(config)).items()
    }
    for path in [path for path in shapes if path.endswith("switch_glu.gate_proj.weight")]:
        base = path.removesuffix("switch_glu.gate_proj.weight")
        experts, width, hidden = shapes.pop(path)
        del shapes[base + "switch_glu.up_proj.weight"]
        shapes[base + "gate_up_proj"] = [experts, 2 * width, hidden]
        shapes[base + "down_proj"] = shapes.pop(base + "switch_glu.down_proj.weight")
    header: dict[str, Any] = {}
    end = 0
    for path, shape in shapes.items():
        start, end = end, end + 2 * math.prod(shape)
        header[f"model.{path}"] = {"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}
    encoded = json.dumps(header).encode()
    folder.mkdir()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        file.truncate(8 + len(encoded) + end)
    (folder / "config.json").write_text(json.dumps(raw))
    return folder
