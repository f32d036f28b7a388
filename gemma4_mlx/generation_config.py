"""What ``generation_config.json`` says: how to sample, and where a reply ends."""

from dataclasses import dataclass, fields
from pathlib import Path

from gemma4_mlx.config import Gemma4Config, as_id_tuple
from gemma4_mlx.json_files import read_json


@dataclass(frozen=True)
class GenerationConfig:
    """Sampling defaults and end-of-turn ids of ``generation_config.json``.

    Trap: id 50 ``<|tool_response>`` is an end of turn only in this file; a reader that takes
    the ids from config.json alone runs past a tool call and invents the tool's answer.
    """

    eos_token_ids: tuple[int, ...]
    temperature: float = 1.0
    top_p: float = 0.95
    top_k: int = 64
    do_sample: bool = True
    suppress_tokens: tuple[int, ...] = ()

    @classmethod
    def from_dir(cls, path: Path, config: Gemma4Config) -> "GenerationConfig":
        """Read ``path/generation_config.json``; without one, the ids of config.json."""
        file = Path(path) / "generation_config.json"
        if not file.exists():
            return cls(eos_token_ids=config.eos_token_ids)
        raw = read_json(file)
        chosen = {f.name: raw[f.name] for f in fields(cls) if raw.get(f.name) is not None}
        chosen["suppress_tokens"] = tuple(raw.get("suppress_tokens") or ())
        ids = raw.get("eos_token_id")
        chosen["eos_token_ids"] = config.eos_token_ids if ids is None else as_id_tuple(ids)
        return cls(**chosen)
