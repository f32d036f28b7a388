"""``generation_config.json``: what is read, what absent values mean, what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from gemma4_mlx.config import Gemma4Config
from gemma4_mlx.errors import CheckpointError
from gemma4_mlx.generation_config import GenerationConfig, is_chat_model, missing_ends
from tests.reference.families import raw_config

VOCAB = 300


def read(folder: Path, **values: Any) -> GenerationConfig:
    (folder / "generation_config.json").write_text(json.dumps(values))
    raw = raw_config("e2b", vocab_size=VOCAB, vocab_size_per_layer_input=VOCAB)
    return GenerationConfig.from_dir(folder, Gemma4Config.from_dict(raw))


def test_values_are_taken(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        eos_token_id=[1, VOCAB - 1],
        temperature=0,
        top_p=1,
        top_k=0,
        do_sample=False,
        suppress_tokens=[0, 7],
    )
    assert found == GenerationConfig((1, VOCAB - 1), 0, 1, 0, False, (0, 7))
    assert read(tmp_path, eos_token_id=5).eos_token_ids == (5,)


def test_null_is_the_default(tmp_path: Path) -> None:
    keys = ("temperature", "top_p", "top_k", "do_sample", "suppress_tokens", "eos_token_id")
    assert read(tmp_path, **dict.fromkeys(keys)) == read(tmp_path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("eos_token_id", bad) for bad in (1.5, "x", True, -1, [], VOCAB, [1, "x"], [1, VOCAB])),
        *(("temperature", bad) for bad in ("hot", True, -0.5, float("nan"), float("inf"), [1])),
        *(("top_p", bad) for bad in ("x", 0, 1.5, -1, True)),
        *(("top_k", bad) for bad in ("x", -1, 2.5, True)),
        *(("suppress_tokens", bad) for bad in (5, ["a"], [-3], [VOCAB], [True], {"a": 1})),
        *(("do_sample", bad) for bad in ("no", 0, [])),
    ],
)
def test_odd_values_are_refused(tmp_path: Path, key: str, value: Any) -> None:
    with pytest.raises(CheckpointError) as error:
        read(tmp_path, **{key: value})
    said = str(error.value)
    assert f"generation_config.json: {key} is {value!r}, expected" in said and "\n" not in said


IDS = {"<eos>": 1, "<turn|>": 106, "<|tool_response>": 50, "<bos>": 2}


@pytest.mark.parametrize(
    ("stated", "is_chat", "missing"),
    [
        ((1, 106, 50), True, {}),
        ((1, 106), True, {50: "<|tool_response>"}),
        ((7,), True, {1: "<eos>", 106: "<turn|>", 50: "<|tool_response>"}),
        ((1,), False, {}),
        ((7,), False, {1: "<eos>"}),
    ],
)
def test_ends_that_are_missing(
    stated: tuple[int, ...], is_chat: bool, missing: dict[int, str]
) -> None:
    assert missing_ends(IDS, stated, is_chat) == missing
    assert missing_ends({}, stated, is_chat) == {}, "a token that is not there ends nothing"


def test_what_makes_a_chat_model() -> None:
    assert is_chat_model(IDS, (1,), has_template=True)
    assert is_chat_model(IDS, (1, 106), has_template=False)
    assert not is_chat_model(IDS, (1, 50), has_template=False)
    assert not is_chat_model({}, (1, 106), has_template=False)
