"""Faults beside the weights: they load without a word, and the model talks nonsense."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from gemma4_mlx.checks.companions import (
    GOLDEN,
    check_ends,
    check_processor,
    check_template,
    check_tokenizer,
)
from gemma4_mlx.checks.outcome import Check, Status
from gemma4_mlx.config import Gemma4Config
from gemma4_mlx.processing.chat_template import ChatTemplate, has_template
from gemma4_mlx.processing.tokenizer import Tokenizer
from tests.checks.whole import whole_checkpoint
from tests.reference.checkpoints import edit_json
from tests.reference.families import raw_config


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return whole_checkpoint("e2b", tmp_path / "model")


def config_of(path: Path) -> Gemma4Config:
    return Gemma4Config.from_dir(path)


# --- tokenizer -----------------------------------------------------------------------------------


class Recited:
    """A tokenizer that knows the golden texts by heart, with some of them changed."""

    vocab_size = 262_144
    control_tokens = {"<eos>": 1}  # noqa: RUF012

    def __init__(self, **changes: tuple[int, ...] | Exception):
        self.known = GOLDEN | changes

    def encode(self, text: str) -> list[int]:
        ids = self.known[text]
        if isinstance(ids, Exception):
            raise ids
        return list(ids)


def released_size() -> Gemma4Config:
    return Gemma4Config.from_dict(raw_config("e2b", vocab_size=262_144))


def test_the_known_tokenizations(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Tokenizer, "from_dir", lambda _path: Recited())
    check, tokenizer = check_tokenizer(tmp_path, released_size())
    assert check.status is Status.OK and tokenizer is not None
    assert check.detail == "262,144 tokens, 10 known texts tokenized as they should be"


def test_a_tokenizer_of_another_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    changes = {"user": (2364, 5), " Paris": RuntimeError("no such byte")}
    monkeypatch.setattr(Tokenizer, "from_dir", lambda _path: Recited(**changes))
    check, _ = check_tokenizer(tmp_path, released_size())
    assert check.status is Status.FAILED and check.detail.startswith("2 of 10")
    assert check.problems == (
        "'user' is 2364,5, expected 2364",
        "' Paris': RuntimeError: no such byte",
    )


def test_golden_texts_are_those_of_the_facts() -> None:
    """Control tokens among them stand under the ids that a reply is read by."""
    assert GOLDEN["Hello, world! 12345"][:3] == (9259, 236764, 1902)
    assert GOLDEN["<|channel>thought\nplan<channel|><|tool_call>call:f{}<tool_call|>"][0] == 100
    assert len(GOLDEN) == 10 and all(max(ids) < 262_144 for ids in GOLDEN.values())


def test_another_vocabulary_is_not_compared(path: Path) -> None:
    check, tokenizer = check_tokenizer(path, config_of(path))
    assert check.status is Status.OK and tokenizer is not None
    assert "known for 262,144 only" in check.detail and "as they should" not in check.detail


def test_more_tokens_than_the_model_has(path: Path) -> None:
    small = Gemma4Config.from_dict(raw_config("e2b", vocab_size=64))
    check, _ = check_tokenizer(path, small)
    assert check.status is Status.FAILED and "embedding 64" in check.detail


@pytest.mark.parametrize("content", [None, "", "{", '{"model": 3}'])
def test_a_tokenizer_that_cannot_be_read(path: Path, content: str | None) -> None:
    file = path / "tokenizer.json"
    file.unlink()
    if content is not None:
        file.write_text(content)
    check, tokenizer = check_tokenizer(path, config_of(path))
    assert check.status is Status.FAILED and tokenizer is None
    assert str(file) in check.detail and "\n" not in check.detail


# --- ends of a reply -----------------------------------------------------------------------------


def ends(path: Path):
    _, tokenizer = check_tokenizer(path, config_of(path))
    return check_ends(path, config_of(path), tokenizer)


def test_the_three_ends(path: Path) -> None:
    check = ends(path)
    assert (check.status, check.detail) == (Status.OK, "1 <eos>, 6 <turn|>, 5 <|tool_response>")


def test_an_end_that_is_lacking(path: Path) -> None:
    edit_json(path / "generation_config.json", eos_token_id=[1, 6, 20])
    check = ends(path)
    assert check.status is Status.FAILED
    assert check.problems == ("5 <|tool_response> does not end a reply",)
    assert "generation_config.json says 1 <eos>, 6 <turn|>, 20 ?" in check.detail
    (path / "generation_config.json").unlink()
    check = ends(path)
    assert check.problems == ("5 <|tool_response> does not end a reply",)
    assert "config.json (generation_config.json is missing) says" in check.detail


def test_a_base_model_ends_with_eos_alone(path: Path) -> None:
    (path / "chat_template.jinja").unlink()
    (path / "generation_config.json").unlink()
    edit_json(path / "config.json", eos_token_id=1)
    check = ends(path)
    assert check.status is Status.OK and "a base model" in check.detail
    edit_json(path / "config.json", eos_token_id=9)
    assert ends(path).problems == ("1 <eos> does not end a reply",)


def test_the_released_ids_are_known_without_a_tokenizer(path: Path) -> None:
    config = released_size()
    assert check_ends(path, config, None).problems == (
        "106 <turn|> does not end a reply",
        "50 <|tool_response> does not end a reply",
    )
    edit_json(path / "generation_config.json", eos_token_id=[1, 106, 50])
    assert check_ends(path, config, None).status is Status.OK


def test_without_a_tokenizer_of_its_own_size(path: Path) -> None:
    check = check_ends(path, config_of(path), None)
    assert check.status is Status.SKIPPED and "no tokenizer" in check.detail


def test_a_damaged_generation_config(path: Path) -> None:
    (path / "generation_config.json").write_text("{")
    check = ends(path)
    assert check.status is Status.FAILED and "generation_config.json" in check.detail


# --- chat template -------------------------------------------------------------------------------


def written(path: Path, source: str):
    (path / "chat_template.jinja").write_text(source)
    return check_template(path, config_of(path))


def test_the_newest_template(path: Path) -> None:
    small = ChatTemplate.shipped(big=False).source
    for source in (small, small.rstrip("\n"), small + "\n"):
        check = written(path, source)
        assert check.status is Status.OK and "for E2B and E4B, the newest" in check.detail


def test_the_template_of_the_other_size(path: Path) -> None:
    check = written(path, ChatTemplate.shipped(big=True).source)
    assert check.status is Status.FAILED and "not the one for E2B and E4B" in check.detail


def test_a_template_that_was_replaced(path: Path) -> None:
    launch = Path(__file__).parents[1] / "processing" / "data" / "launch.jinja"
    check = written(path, launch.read_text())
    assert check.status is Status.WARNING
    assert "Google's of 2 April 2026, replaced on 9 July 2026" in check.detail


def test_no_template(path: Path) -> None:
    (path / "chat_template.jinja").unlink()
    check = check_template(path, config_of(path))
    assert check.status is Status.OK and "the checkpoint has none" in check.detail


def test_a_template_of_ones_own(path: Path) -> None:
    own = "{% for m in messages %}<|turn>{{ m.role }}\n{{ m.content }}<turn|>\n{% endfor %}"
    assert written(path, own).detail == "none of Google's; it renders a conversation"
    forgetful = "{{ messages[-1].content }}"
    check = written(path, forgetful)
    assert check.status is Status.FAILED and "leaves out what was said" in check.detail


@pytest.mark.parametrize("source", ["{% for", "{{ raise_exception('no') }}", "{{ 1 / 0 }}"])
def test_a_template_that_does_not_work(path: Path, source: str) -> None:
    check = written(path, source)
    assert check.status is Status.FAILED and "\n" not in check.detail


def test_a_template_in_the_tokenizer_config(path: Path) -> None:
    (path / "chat_template.jinja").unlink()
    small = ChatTemplate.shipped(big=False).source
    (path / "tokenizer_config.json").write_text(json.dumps({"chat_template": small}))
    assert has_template(path)
    assert "the newest" in check_template(path, config_of(path)).detail
    (path / "tokenizer_config.json").write_text("{")
    assert has_template(path), "damaged, but there is one"


# --- processor -----------------------------------------------------------------------------------


def test_processor_settings(path: Path) -> None:
    config = config_of(path)

    def check(**blocks: dict[str, int]) -> Check:
        (path / "processor_config.json").write_text(json.dumps(blocks))
        return check_processor(path, config)

    pictures = {"image_processor": {"patch_size": 16}, "video_processor": {"patch_size": 16}}
    lacking = check(**pictures)
    assert lacking.status is Status.WARNING and "lacks feature_extractor" in lacking.detail
    assert check(**pictures, feature_extractor={"feature_size": 128}).status is Status.OK
    assert check(**pictures, feature_extractor={"feature_size": 0}).status is Status.FAILED
    text_alone = replace(config, vision=None, audio=None)
    (path / "processor_config.json").unlink()
    assert check_processor(path, text_alone).detail == "no tower needs one"
    assert "is missing" in check_processor(path, config).detail
