"""The demo model: a Gemma 4 of a few million parameters that is part of the package.

It has the E2B architecture in small (per-layer embeddings, shared KV, vision and audio towers),
so that every command works offline within a minute of installing. What it can do is little, and
notebooks/demo_model/ says how it was trained and how well it does.
"""

from importlib.resources import files
from pathlib import Path

from gemma4_mlx.errors import CheckpointError


def demo_path() -> Path:
    """Directory of the demo checkpoint, an MLX conversion.

    Raises CheckpointError when the installed package lacks its files.
    """
    path = Path(str(files(__name__))) / "checkpoint"
    if not (path / "config.json").is_file():
        raise CheckpointError(
            f"the demo model's files are not in {path}: this installation is incomplete; "
            "install gemma4-mlx again"
        )
    return path
