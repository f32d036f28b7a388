"""What ``generation_config.json`` says: how to sample, and where a reply ends."""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gemma4_mlx.config import Gemma4Config
from gemma4_mlx.errors import CheckpointError
from gemma4_mlx.json_files import read_json

TURN_END = "<turn|>"
# All that end a reply of a chat model; a text of a base model ends with the first alone.
ENDS_OF_A_REPLY = ("<eos>", TURN_END, "<|tool_response>")


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
        """Read ``path/generation_config.json``; without one, the ids of config.json.

        A value that is absent or null takes its default. Raises CheckpointError for one of
        another type or out of range: a token that does not exist would never end a reply.
        """
        file = Path(path) / "generation_config.json"
        if not file.exists():
            return cls(eos_token_ids=config.eos_token_ids)
        raw = read_json(file)
        vocab_size = config.text.vocab_size

        def read(key: str, default: Any, valid: Callable[[Any], bool], expected: str) -> Any:
            found = raw.get(key)
            if found is None:
                return default
            if not valid(found):
                raise CheckpointError(
                    f"{file}: {key} is {found!r:.60}, expected {expected}; "
                    "use the generation_config.json that came with the weights"
                )
            return found

        def is_id(value: Any) -> bool:
            return type(value) is int and 0 <= value < vocab_size

        def are_ids(value: Any) -> bool:
            return isinstance(value, list) and all(map(is_id, value))

        eos = read(
            "eos_token_id",
            list(config.eos_token_ids),
            lambda value: is_id(value) or (are_ids(value) and value != []),
            f"a token id below {vocab_size} or a list of them",
        )
        return cls(
            eos_token_ids=tuple(eos) if isinstance(eos, list) else (eos,),
            temperature=read(
                "temperature",
                cls.temperature,
                lambda value: _is_number(value) and 0 <= value < math.inf,
                "a number of at least 0",
            ),
            top_p=read(
                "top_p",
                cls.top_p,
                lambda value: _is_number(value) and 0 < value <= 1,
                "a number above 0 and up to 1",
            ),
            top_k=read(
                "top_k",
                cls.top_k,
                lambda value: type(value) is int and value >= 0,
                "a whole number of at least 0",
            ),
            do_sample=read(
                "do_sample",
                cls.do_sample,
                lambda value: isinstance(value, bool),
                "true or false",
            ),
            suppress_tokens=tuple(
                read(
                    "suppress_tokens",
                    [],
                    are_ids,
                    f"a list of token ids below {vocab_size}",
                )
            ),
        )


def is_chat_model(ids: Mapping[str, int], stated: Collection[int], has_template: bool) -> bool:
    """Whether a checkpoint is made for conversations, not for going on with a text alone.

    It has a chat template of its own, or ends a reply where a turn ends. ``ids`` are those of its
    control tokens, ``stated`` the ends that any of its files names.
    """
    return has_template or ids.get(TURN_END) in stated


def missing_ends(ids: Mapping[str, int], stated: Collection[int], is_chat: bool) -> dict[int, str]:
    """The ends of a reply that a file names not, by id; it names those ``stated``.

    Without ``<|tool_response>`` among them a model goes on and makes up the answer of a tool it
    called; without ``<turn|>`` it goes on with the user's next turn. A token that ``ids``, those of
    the checkpoint's control tokens, does not have is not missed.
    """
    wanted = ENDS_OF_A_REPLY if is_chat else ENDS_OF_A_REPLY[:1]
    return {ids[end]: end for end in wanted if end in ids and ids[end] not in stated}


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)
