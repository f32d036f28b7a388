"""What goes along with the weights: copied as it is, but for faults that are known."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gemma4_convert.companions import COPIED, Companions, companions
from gemma4_mlx.checks.companions import (
    check_ends,
    check_processor,
    check_template,
    check_tokenizer,
)
from gemma4_mlx.checks.outcome import Check, Status
from gemma4_mlx.config import Gemma4Config
from gemma4_mlx.errors import CheckpointError
from gemma4_mlx.generation_config import GenerationConfig
from gemma4_mlx.processing.chat_revisions import OUTDATED, outdated_revision
from gemma4_mlx.processing.chat_template import ChatTemplate
from gemma4_mlx.processing.processor import Processor
from gemma4_mlx.processing.settings import ProcessorSettings
from tests.processing import tiny
from tests.reference.checkpoints import edit_json

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "notebooks" / "demo_model" / "hf"
LAUNCH = (ROOT / "tests" / "processing" / "data" / "launch.jinja").read_text()
SMALL, BIG = (ChatTemplate.shipped(big).source for big in (False, True))

# In the order of tiny.CONTROL, which is not that of the released vocabulary.
EOS, TURN_END, TOOL_RESPONSE = (
    tiny.CONTROL.index(token) for token in ("<eos>", "<turn|>", "<|tool_response>")
)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A chat checkpoint of a small model without a fault, and without weights."""
    path = tmp_path / "source"
    path.mkdir()
    for name in (*COPIED, "config.json"):
        if (DEMO / name).is_file():
            shutil.copyfile(DEMO / name, path / name)
    edit_json(path / "config.json", eos_token_id=[EOS, TURN_END, TOOL_RESPONSE])
    return path


def mend(path: Path) -> Companions:
    return companions(path, Gemma4Config.from_dir(path))


def written(found: Companions, name: str) -> Any:
    return json.loads(found.files[name])


def write_out(found: Companions, raw_config: dict[str, Any], path: Path) -> Path:
    """As a conversion does, but for the weights."""
    path.mkdir()
    for name, content in found.files.items():
        (path / name).write_bytes(content)
    (path / "config.json").write_text(json.dumps(found.config(raw_config)))
    return path


def make_big(path: Path) -> None:
    raw = json.loads((path / "config.json").read_text())
    raw["text_config"]["use_bidirectional_attention"] = "vision"
    (path / "config.json").write_text(json.dumps({**raw, "audio_config": None}))


def make_base(path: Path) -> None:
    """As Google publishes base models: no template, and one end of a text."""
    (path / "chat_template.jinja").unlink()
    edit_json(path / "config.json", eos_token_id=EOS)
    edit_json(path / "generation_config.json", eos_token_id=EOS)


def test_files_without_a_fault_are_copied_byte_for_byte(checkpoint: Path) -> None:
    (checkpoint / "special_tokens_map.json").write_text('{"kept":  "as it is"}')
    (checkpoint / "notes.json").write_text("{}")
    (checkpoint / "model.gguf").write_text("")
    found = mend(checkpoint)
    assert found.mended == ()
    assert found.eos_token_ids is None
    assert found.config({"eos_token_id": 7}) == {"eos_token_id": 7}
    expected = {path.name for path in checkpoint.iterdir()} & set(COPIED)
    assert found.files.keys() == expected >= {"tokenizer.json", "special_tokens_map.json"}
    for name, content in found.files.items():
        assert content == (checkpoint / name).read_bytes()


def test_what_is_mended_loads_and_needs_no_mending(checkpoint: Path, tmp_path: Path) -> None:
    """Every fault at once, in the demo's checkpoint."""
    for name in ("generation_config.json", "processor_config.json"):
        (checkpoint / name).unlink()
    (checkpoint / "chat_template.jinja").write_text(LAUNCH)
    edit_json(checkpoint / "config.json", eos_token_id=[EOS, TURN_END])
    found = mend(checkpoint)
    assert len(found.mended) == 4

    raw = json.loads((checkpoint / "config.json").read_text())
    whole = write_out(found, raw, tmp_path / "whole")
    again = mend(whole)
    assert again.mended == () and again.files == found.files
    config = Gemma4Config.from_dir(whole)
    processor = Processor.from_dir(whole, config)
    assert processor.chat_template.source == SMALL
    assert processor.settings.image.max_soft_tokens == raw["vision_soft_tokens_per_image"] == 70
    assert processor.settings.mel.feature_size == 64
    ends = GenerationConfig.from_dir(whole, config).eos_token_ids
    assert ends == config.eos_token_ids == (EOS, TURN_END, TOOL_RESPONSE)


def verified(path: Path) -> list[Check]:
    """What ``gemma4 verify`` has to say of the same files."""
    config = Gemma4Config.from_dir(path)
    _, tokenizer = check_tokenizer(path, config)
    ends = check_ends(path, config, tokenizer)
    return [ends, check_template(path, config), check_processor(path, config)]


def lose_ends(path: Path) -> None:
    edit_json(path / "generation_config.json", eos_token_id=[EOS, TURN_END])


def lose_the_only_end(path: Path) -> None:
    make_base(path)
    edit_json(path / "generation_config.json", eos_token_id=9)


def lose_settings_of_sound(path: Path) -> None:
    edit_json(path / "processor_config.json", feature_extractor=None)


@pytest.mark.parametrize(
    ("spoil", "status"),
    [
        (lose_ends, Status.FAILED),
        (lose_the_only_end, Status.FAILED),
        (lose_settings_of_sound, Status.WARNING),
        (lambda path: (path / "processor_config.json").unlink(), Status.WARNING),
        (lambda path: (path / "chat_template.jinja").write_text(LAUNCH), Status.WARNING),
        (lambda path: (path / "chat_template.jinja").write_text(BIG), Status.FAILED),
    ],
)
def test_what_verify_complains_of_is_mended(
    checkpoint: Path, tmp_path: Path, spoil: Callable[[Path], object], status: Status
) -> None:
    """Both go by one rule: they never disagree on what is a fault."""
    assert {check.status for check in verified(checkpoint)} == {Status.OK}
    assert mend(checkpoint).mended == ()
    spoil(checkpoint)
    (complaint,) = (check for check in verified(checkpoint) if check.status is not Status.OK)
    assert complaint.status is status
    found = mend(checkpoint)
    assert len(found.mended) == 1
    raw = json.loads((checkpoint / "config.json").read_text())
    whole = write_out(found, raw, tmp_path / "whole")
    assert {check.status for check in verified(whole)} == {Status.OK}


# --- ends of a reply ---------------------------------------------------------------------------


def test_ends_that_config_json_lacks(checkpoint: Path) -> None:
    """As released: generation_config.json alone knows the end before a tool's answer."""
    edit_json(checkpoint / "config.json", eos_token_id=[EOS, TURN_END])
    found = mend(checkpoint)
    assert found.mended == (
        f"config.json did not say that a reply ends at {TOOL_RESPONSE} <|tool_response>: added",
    )
    assert found.config({"a": 1, "eos_token_id": 1}) == {
        "a": 1,
        "eos_token_id": [EOS, TURN_END, TOOL_RESPONSE],
    }
    unchanged = (checkpoint / "generation_config.json").read_bytes()
    assert found.files["generation_config.json"] == unchanged


@pytest.mark.parametrize("stated", [EOS, [EOS, TURN_END], [TURN_END, 40]])
def test_ends_that_generation_config_json_lacks(checkpoint: Path, stated: Any) -> None:
    edit_json(checkpoint / "generation_config.json", eos_token_id=stated)
    found = mend(checkpoint)
    before = json.loads((checkpoint / "generation_config.json").read_text())
    after = written(found, "generation_config.json")
    listed = stated if isinstance(stated, list) else [stated]
    assert after["eos_token_id"][: len(listed)] == listed, "its own ends come first"
    assert {EOS, TURN_END, TOOL_RESPONSE} <= set(after["eos_token_id"])
    assert len(set(after["eos_token_id"])) == len(after["eos_token_id"])
    assert {**after, "eos_token_id": stated} == before, "nothing else has changed"
    assert len(found.mended) == 1
    assert f"{TOOL_RESPONSE} <|tool_response>" in found.mended[0]


def test_ids_are_those_of_the_tokenizer(checkpoint: Path) -> None:
    """The released vocabulary has 1, 106 and 50."""
    raw = tiny.tokenizer_json()
    vocab = raw["model"]["vocab"]
    for token, index in (("<turn|>", 106), ("<|tool_response>", 50)):
        other = next(piece for piece, i in vocab.items() if i == index)
        vocab[token], vocab[other] = index, vocab[token]
    for token in raw["added_tokens"]:
        token["id"] = vocab[token["content"]]
    (checkpoint / "tokenizer.json").write_text(json.dumps(raw))
    edit_json(checkpoint / "config.json", eos_token_id=[1, 106])
    edit_json(checkpoint / "generation_config.json", eos_token_id=[1, 106])
    found = mend(checkpoint)
    assert written(found, "generation_config.json")["eos_token_id"] == [1, 106, 50]
    assert found.eos_token_ids == (1, 106, 50)


def test_a_missing_generation_config_is_the_released_one(checkpoint: Path) -> None:
    (checkpoint / "generation_config.json").unlink()
    found = mend(checkpoint)
    assert written(found, "generation_config.json") == {
        "bos_token_id": 2,
        "do_sample": True,
        "eos_token_id": [EOS, TURN_END, TOOL_RESPONSE],
        "pad_token_id": 0,
        "temperature": 1.0,
        "top_k": 64,
        "top_p": 0.95,
    }
    assert found.mended == ("generation_config.json was missing: the released one was put in",)


def test_a_base_model_stays_one(checkpoint: Path) -> None:
    make_base(checkpoint)
    found = mend(checkpoint)
    assert found.mended == () and found.eos_token_ids is None
    assert "chat_template.jinja" not in found.files
    assert written(found, "generation_config.json")["eos_token_id"] == EOS
    (checkpoint / "generation_config.json").unlink()
    found = mend(checkpoint)
    assert found.mended == () and "generation_config.json" not in found.files


def test_without_a_tokenizer_nothing_is_guessed(checkpoint: Path) -> None:
    (checkpoint / "tokenizer.json").unlink()
    edit_json(checkpoint / "generation_config.json", eos_token_id=EOS)
    found = mend(checkpoint)
    assert written(found, "generation_config.json")["eos_token_id"] == EOS
    assert found.eos_token_ids is None
    assert len(found.mended) == 1 and "has no tokenizer.json" in found.mended[0]


# --- processor ---------------------------------------------------------------------------------


def test_released_processor_settings_are_our_defaults() -> None:
    content = (ROOT / "gemma4_mlx" / "released" / "processor_config.json").read_bytes()
    known = "32bdf45d2ad4cc29a0822ddd157a182de76644f0419a6228d151495256e9813c"
    assert hashlib.sha256(content).hexdigest() == known
    assert ProcessorSettings.from_dict(json.loads(content)) == ProcessorSettings()


@pytest.mark.parametrize("block", ["feature_extractor", "image_processor", "video_processor"])
def test_a_block_that_is_missing(checkpoint: Path, block: str) -> None:
    complete = json.loads((checkpoint / "processor_config.json").read_text())
    edit_json(checkpoint / "processor_config.json", **{block: None})
    found = mend(checkpoint)
    assert written(found, "processor_config.json") == complete
    assert found.mended == (
        f"processor_config.json lacked {block}: the released settings were put in",
    )


def test_settings_that_are_there_stay(checkpoint: Path) -> None:
    edit_json(checkpoint / "processor_config.json", feature_extractor=None, audio_seq_length=500)
    found = mend(checkpoint)
    assert written(found, "processor_config.json")["audio_seq_length"] == 500


def test_a_model_without_audio_needs_no_feature_extractor(checkpoint: Path) -> None:
    make_big(checkpoint)
    (checkpoint / "chat_template.jinja").write_text(BIG)
    edit_json(checkpoint / "processor_config.json", feature_extractor=None)
    found = mend(checkpoint)
    assert found.mended == ()
    assert (
        found.files["processor_config.json"] == (checkpoint / "processor_config.json").read_bytes()
    )


def test_a_text_model_needs_no_processor(checkpoint: Path) -> None:
    raw = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(
        json.dumps({**raw, "audio_config": None, "vision_config": None})
    )
    (checkpoint / "processor_config.json").unlink()
    found = mend(checkpoint)
    assert found.mended == () and "processor_config.json" not in found.files


def test_settings_of_the_older_file_are_taken(checkpoint: Path) -> None:
    (checkpoint / "processor_config.json").unlink()
    older = {"image_processor_type": "Gemma4ImageProcessor", "resample": 2, "size": None}
    (checkpoint / "preprocessor_config.json").write_text(json.dumps(older))
    found = mend(checkpoint)
    settings = ProcessorSettings.from_dict(written(found, "processor_config.json"))
    assert settings.image.resample == 2
    assert settings.video.frames.resample == 3
    assert json.loads(found.files["preprocessor_config.json"]) == older


# --- chat template -----------------------------------------------------------------------------


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("ending", ["", "\n"])
def test_an_outdated_template_is_renewed(checkpoint: Path, big: bool, ending: str) -> None:
    if big:
        make_big(checkpoint)
    (checkpoint / "chat_template.jinja").write_text(LAUNCH + ending)
    found = mend(checkpoint)
    assert found.files["chat_template.jinja"].decode() == (BIG if big else SMALL)
    size = "26B and 31B" if big else "E2B and E4B"
    assert found.mended == (
        "the chat template in chat_template.jinja was Google's of 2 April 2026: that of "
        f"9 July 2026 for {size} took its place",
    )


@pytest.mark.parametrize("holder", ["tokenizer_config.json", "chat_template.json"])
def test_an_outdated_template_within_json(checkpoint: Path, holder: str) -> None:
    (checkpoint / "chat_template.jinja").unlink()
    (checkpoint / "chat_template.json").write_text("{}")
    edit_json(checkpoint / holder, chat_template=LAUNCH)
    before = json.loads((checkpoint / holder).read_text())
    found = mend(checkpoint)
    assert written(found, holder) == {**before, "chat_template": SMALL}
    assert "chat_template.jinja" not in found.files
    assert len(found.mended) == 1 and holder in found.mended[0]

    named = [{"name": "default", "template": LAUNCH}, {"name": "mine", "template": "{{ 1 }}"}]
    edit_json(checkpoint / holder, chat_template=named)
    expected = [{"name": "default", "template": SMALL}, named[1]]
    assert written(mend(checkpoint), holder)["chat_template"] == expected


@pytest.mark.parametrize("big", [False, True])
def test_a_template_of_the_other_size_is_replaced(checkpoint: Path, big: bool) -> None:
    if big:
        make_big(checkpoint)
    (checkpoint / "chat_template.jinja").write_text(SMALL if big else BIG)
    found = mend(checkpoint)
    assert found.files["chat_template.jinja"].decode() == (BIG if big else SMALL)
    size = "26B and 31B" if big else "E2B and E4B"
    assert found.mended == (
        f"the chat template in chat_template.jinja was not the one for {size}: that of "
        f"9 July 2026 for {size} took its place",
    )


def test_every_copy_of_a_template_is_renewed(checkpoint: Path) -> None:
    """Which of them a reader takes, differs."""
    edit_json(checkpoint / "tokenizer_config.json", chat_template=LAUNCH)
    found = mend(checkpoint)
    assert written(found, "tokenizer_config.json")["chat_template"] == SMALL
    assert found.files["chat_template.jinja"].decode() == SMALL
    assert len(found.mended) == 1


@pytest.mark.parametrize("own", [LAUNCH + "{# mine #}", LAUNCH[1:], "{{ messages }}"])
def test_a_template_of_the_user_s_own_is_left_alone(checkpoint: Path, own: str) -> None:
    (checkpoint / "chat_template.jinja").write_text(own)
    edit_json(checkpoint / "tokenizer_config.json", chat_template=own)
    found = mend(checkpoint)
    assert found.mended == ()
    assert found.files["chat_template.jinja"].decode() == own
    assert written(found, "tokenizer_config.json")["chat_template"] == own


@pytest.mark.parametrize("big", [False, True])
def test_a_chat_model_that_lost_its_template(checkpoint: Path, big: bool) -> None:
    if big:
        make_big(checkpoint)
    (checkpoint / "chat_template.jinja").unlink()
    found = mend(checkpoint)
    assert found.files["chat_template.jinja"].decode() == (BIG if big else SMALL)
    assert len(found.mended) == 1 and found.mended[0].startswith("the chat template was missing")


def test_revisions() -> None:
    """The newest are not outdated, and the hashes are whole ones of distinct files."""
    assert outdated_revision(SMALL) is outdated_revision(BIG) is None
    assert outdated_revision(LAUNCH) == "2 April 2026"
    assert all(len(bytes.fromhex(digest)) == 32 for digest in OUTDATED)
    assert hashlib.sha256(LAUNCH.encode()).hexdigest() in OUTDATED


# --- damage ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tokenizer.json", b"{"),
        ("tokenizer_config.json", b"[]"),
        ("generation_config.json", b'{"eos_token_id": "end"}'),
        ("processor_config.json", b"\xff"),
        ("chat_template.jinja", b"\xff"),
        ("chat_template.json", b"nothing"),
    ],
)
def test_damage_is_told_in_one_line(checkpoint: Path, name: str, content: bytes) -> None:
    (checkpoint / name).write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        mend(checkpoint)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
