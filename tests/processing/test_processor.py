"""The whole way from messages to model inputs, against transformers' processor."""

import json
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
import soundfile as sf
from PIL import Image

from gemma4_mlx.config import Gemma4Config
from gemma4_mlx.errors import CheckpointError, InputError, MediaError
from gemma4_mlx.processing.processor import Processor
from tests.processing import make_goldens, tiny, transformers_side

TEXT = {"type": "text", "text": "What is the answer?"}


def image(height: int = 60, width: int = 91) -> Image.Image:
    return Image.fromarray(np.random.randint(0, 256, (height, width, 3), dtype=np.uint8))


def clip(samples: int = 8_000) -> np.ndarray:
    return np.random.uniform(-0.5, 0.5, samples).astype(np.float32)


def user(*parts: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(parts)}]


@pytest.fixture
def processor(tmp_path: Path) -> Processor:
    return tiny.make_processor(tmp_path)


def assert_equal(found: dict[str, mx.array], expected: dict[str, Any]) -> None:
    assert set(found) == set(expected)
    for name, array in expected.items():
        ours = np.array(found[name])
        assert ours.shape == np.shape(array), name
        np.testing.assert_allclose(ours, array, atol=1e-5, rtol=0, err_msg=name)


# --- against the reference -----------------------------------------------------------------------


def test_inputs_equal_the_goldens(processor: Processor) -> None:
    found = make_goldens.thinned(processor(make_goldens.messages()))
    with np.load(make_goldens.FILE) as expected:
        assert_equal({k: mx.array(v) for k, v in found.items()}, dict(expected))


def conversations() -> dict[str, list[dict[str, Any]]]:
    picture, sound = {"type": "image", "image": image()}, {"type": "audio", "audio": clip()}
    tool_call = {"id": "1", "type": "function", "function": {"name": "look", "arguments": {}}}
    return {
        "text": [{"role": "user", "content": "the user"}],
        "image": user(picture, TEXT),
        "images": user({"type": "image", "image": image(20, 900)}, TEXT, picture, picture, TEXT),
        "audio": user(sound, TEXT),
        "clips": user(*({"type": "audio", "audio": clip(n)} for n in (161, 9_999, 300, 16_000))),
        "thirty seconds": user({"type": "audio", "audio": clip(480_000)}, sound),
        "all": user(sound, picture, TEXT, sound, picture),
        "turns": [
            *user(picture, TEXT),
            {"role": "assistant", "content": "the reply"},
            *user(sound, TEXT),
            {"role": "assistant", "content": [{"type": "text", "text": " another "}]},
            *user(picture),
        ],
        "an image from a tool": [
            {"role": "user", "content": "look"},
            {"role": "assistant", "tool_calls": [tool_call]},
            {"role": "tool", "tool_call_id": "1", "content": [TEXT, picture]},
        ],
        "reasoning": [
            {"role": "user", "content": "look"},
            {"role": "assistant", "thinking": "hm", "content": "", "tool_calls": [tool_call]},
            {"role": "tool", "tool_call_id": "1", "content": '{"a": 1}'},
        ],
        "developer": [
            {"role": "developer", "content": [TEXT, TEXT]},
            {"role": "user", "content": "  spaces \n"},
            {"role": "developer", "content": "again"},
            {"role": "user", "content": "x"},
        ],
        "without content": [
            {"role": "user", "content": "look"},
            {"role": "assistant", "content": None, "tool_calls": [tool_call, tool_call]},
        ],
    }


@pytest.mark.parametrize("size", ["small", "big"])
@pytest.mark.parametrize("name", conversations())
def test_inputs_equal_transformers(name: str, size: str, tmp_path: Path) -> None:
    transformers_side.require()
    processor = tiny.make_processor(tmp_path, big=size == "big")
    messages = conversations()[name]
    reference = transformers_side.processor(tmp_path)
    for options in ({}, {"enable_thinking": True}, {"add_generation_prompt": False}):
        found = processor(messages, **options)
        text = processor.apply_chat_template(messages, **options)
        expected = transformers_side.inputs(reference, messages, **options)
        assert_equal(found, expected)
        options.setdefault("add_generation_prompt", True)
        assert text == reference.apply_chat_template(messages, tokenize=False, **options)


@pytest.mark.parametrize("budget", [70, 1120])
def test_another_budget(budget: int, tmp_path: Path) -> None:
    transformers_side.require()
    processor, messages = tiny.make_processor(tmp_path), user({"type": "image", "image": image()})
    expected = transformers_side.inputs(
        transformers_side.processor(tmp_path),
        messages,
        processor_kwargs={"images_kwargs": {"max_soft_tokens": budget}},
    )
    assert_equal(processor(messages, max_soft_tokens=budget), expected)
    assert processor(messages)["pixel_values"].shape[1] == 280 * 9, "the budget is for one call"


def test_video_prompt_equals_the_reference(tmp_path: Path) -> None:
    """The reference's own method writes the expansion; its resizing wants torchvision."""
    transformers_side.require()
    from transformers.video_utils import VideoMetadata

    processor = tiny.make_processor(tmp_path)
    frames = [image(60, 91) for _ in range(40)]
    video = {"type": "video", "video": frames, "fps": 0.5}
    inputs = processor(user({"type": "image", "image": image()}, video, TEXT))
    count = 10 * 6  # 60 × 91 pixels within 70 tokens
    metadata = VideoMetadata(40, fps=0.5, frames_indices=[i * 40 // 32 for i in range(32)])
    replaced = transformers_side.processor(tmp_path).replace_video_token(
        {"num_soft_tokens_per_video": [count], "video_metadata": [metadata]}, 0
    )
    ids = inputs["input_ids"][0].tolist()
    assert replaced in processor.tokenizer.decode(ids)
    types = np.array(inputs["mm_token_type_ids"][0])
    assert (types == 2).sum() == 32 * count
    assert (np.array(ids)[types == 2] == processor.config.video_token_id).all()
    assert inputs["num_frames_per_video"].tolist() == [32]
    assert inputs["pixel_values_videos"].shape == (32, 630, 768)
    positions = np.array(inputs["video_position_ids"])
    assert positions.shape == (32, 630, 2)
    assert (positions[:, : count * 9] >= 0).all()
    assert (positions[:, count * 9 :] == -1).all()


def test_frames_equal_pictures_of_the_same_budget(processor: Processor) -> None:
    picture = image()
    one = processor(user({"type": "video", "video": [picture]}))
    other = processor(user({"type": "image", "image": picture}), max_soft_tokens=70)
    assert mx.array_equal(one["pixel_values_videos"], other["pixel_values"])
    assert mx.array_equal(one["video_position_ids"], other["image_position_ids"])


def test_two_videos(processor: Processor) -> None:
    videos = [{"type": "video", "video": [image()] * n, "fps": 1.0} for n in (2, 3)]
    inputs = processor(user(*videos))
    assert inputs["num_frames_per_video"].tolist() == [2, 3]
    assert inputs["pixel_values_videos"].shape[0] == 5
    text = processor.tokenizer.decode(inputs["input_ids"][0].tolist())
    assert text.count("00:00 <|image>") == 2
    assert text.count("00:01 <|image>") == 2
    assert text.count("00:02 <|image>") == 1


# --- types and notices ---------------------------------------------------------------------------


def test_dtypes(processor: Processor) -> None:
    video = {"type": "video", "video": [image()]}
    inputs = processor(
        user({"type": "image", "image": image()}, {"type": "audio", "audio": clip()}, video)
    )
    assert {name: array.dtype for name, array in inputs.items()} == {
        "input_ids": mx.int32,
        "attention_mask": mx.int32,
        "mm_token_type_ids": mx.int32,
        "pixel_values": mx.float32,
        "image_position_ids": mx.int32,
        "pixel_values_videos": mx.float32,
        "video_position_ids": mx.int32,
        "num_frames_per_video": mx.int32,
        "input_features": mx.float32,
        "input_features_mask": mx.bool_,
    }
    assert processor.sampling_rate == 16_000


def test_notices_are_those_of_the_last_call(processor: Processor, tmp_path: Path) -> None:
    sf.write(tmp_path / "a.wav", np.zeros((44_100, 2)), 44_100)
    processor(user({"type": "audio", "path": str(tmp_path / "a.wav")}))
    assert [notice.split(": ")[1] for notice in processor.notices] == [
        "2 channels mixed down to one",
        "resampled from 44100 Hz to 16000 Hz",
    ]
    processor(user({"type": "video", "video": [image()]}))
    assert processor.notices == ["the video: 24 frames per second assumed"]
    processor(user(TEXT))
    assert processor.notices == []


def test_a_file_gives_what_its_array_gives(processor: Processor, tmp_path: Path) -> None:
    picture, sound = image(), clip()
    picture.save(tmp_path / "a.png")
    sf.write(tmp_path / "a.wav", sound, 16_000, "FLOAT")
    by_path = processor(
        user(
            {"type": "image", "url": str(tmp_path / "a.png")},
            {"type": "audio", "audio": tmp_path / "a.wav"},
        )
    )
    by_value = processor(
        user({"type": "image", "image": picture}, {"type": "audio", "audio": (sound, 16_000)})
    )
    assert_equal(by_path, {name: np.array(array) for name, array in by_value.items()})


# --- what is refused -----------------------------------------------------------------------------


def test_media_that_the_model_has_no_tower_for(tmp_path: Path) -> None:
    deaf = tiny.make_processor(tmp_path, audio=False)
    with pytest.raises(InputError, match=r"content\[1\] is a recording, .* no audio tower"):
        deaf(user(TEXT, {"type": "audio", "audio": clip()}))
    blind = tiny.make_processor(tmp_path, vision=False)
    with pytest.raises(InputError, match=r"content\[0\] is a picture, .* no vision tower"):
        blind(user({"type": "image", "image": image()}))
    with pytest.raises(InputError, match=r"is a video, .* no vision tower"):
        blind(user({"type": "video", "video": [image()]}))
    assert "pixel_values" in deaf(user({"type": "image", "image": image()}))
    assert "input_features" in blind(user({"type": "audio", "audio": clip()}))


def test_audio_over_thirty_seconds_is_never_cut(processor: Processor) -> None:
    with pytest.raises(InputError, match=r"is 30\.50 s long.* 30 s at once.*`gemma4 transcribe`"):
        processor(user({"type": "audio", "audio": clip(488_000)}))
    with pytest.raises(InputError, match="30 s at once"):
        processor(user({"type": "audio", "audio": clip(480_001)}))


def test_audio_that_is_too_short(processor: Processor) -> None:
    with pytest.raises(InputError, match=r"is 10\.0 ms long, too short"):
        processor(user({"type": "audio", "audio": clip(160)}))


def test_placeholders_without_media(processor: Processor) -> None:
    for kind in ("image", "audio", "video"):
        assert f"<|{kind}|>" in processor.apply_chat_template(user({"type": kind}))
        with pytest.raises(InputError, match=r"messages\[0\].content\[0\] is a placeholder"):
            processor(user({"type": kind}))


def test_media_that_the_template_does_not_place(processor: Processor) -> None:
    messages = [
        {"role": "system", "content": [{"type": "image", "image": image()}, TEXT]},
        {"role": "user", "content": "Hi"},
    ]
    with pytest.raises(InputError, match=r"hold 1 image parts, .* placed 0 of <\|image\|>"):
        processor(messages)


def test_a_context_that_is_too_long(processor: Processor) -> None:
    with pytest.raises(InputError, match=r"the prompt has \d+ tokens, .* context holds 8192"):
        processor([{"role": "user", "content": "x " * 9_000}])


def test_unreadable_media(processor: Processor, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    for kind in ("image", "audio", "video"):
        with pytest.raises(MediaError, match=r"a\.png (is not a|has no) "):
            processor(user({"type": kind, "path": tmp_path / "a.png"}))
    with pytest.raises(InputError, match="max_soft_tokens is 99"):
        processor(user({"type": "image", "image": image()}), max_soft_tokens=99)


# --- the files of a checkpoint -------------------------------------------------------------------


def test_a_lost_feature_extractor_does_not_drop_audio(tmp_path: Path) -> None:
    processor = tiny.make_processor(tmp_path)
    sound = user({"type": "audio", "audio": clip()})
    expected = processor(sound)
    for raw in ({}, {"image_processor": {}, "feature_extractor": None}):
        (tmp_path / "processor_config.json").write_text(json.dumps(raw))
        again = Processor.from_dir(tmp_path, processor.config)(sound)
        assert_equal(again, {name: np.array(array) for name, array in expected.items()})
    (tmp_path / "processor_config.json").unlink()
    assert "input_features" in Processor.from_dir(tmp_path, processor.config)(sound)


def test_only_the_tokenizer_must_be_there(tmp_path: Path) -> None:
    for size in ("small", "big"):
        (tmp_path / "tokenizer.json").write_text(json.dumps(tiny.tokenizer_json()))
        config = Gemma4Config.from_dict(tiny.config_dict(big=size == "big"))
        text = Processor.from_dir(tmp_path, config).apply_chat_template(user(TEXT))
        assert text.endswith("<channel|>") is (size == "big")


def test_files_of_two_checkpoints(tmp_path: Path) -> None:
    tiny.write_checkpoint(tmp_path)
    raw = {**tiny.config_dict(), "image_token_id": 77}
    with pytest.raises(CheckpointError, match=r"<\|image\|> the id \d+, config\.json says 77"):
        Processor.from_dir(tmp_path, Gemma4Config.from_dict(raw))
    raw = tiny.config_dict()
    raw["vision_config"]["patch_size"] = 14
    with pytest.raises(CheckpointError, match=r"patches of 16 pixels .* says 14 and 3"):
        Processor.from_dir(tmp_path, Gemma4Config.from_dict(raw))
    lacking = tiny.tokenizer_json()
    del lacking["model"]["vocab"]["<|turn>"]
    lacking["added_tokens"] = [t for t in lacking["added_tokens"] if t["content"] != "<|turn>"]
    (tmp_path / "tokenizer.json").write_text(json.dumps(lacking))
    with pytest.raises(CheckpointError, match=r"no control token '<\|turn>'"):
        Processor.from_dir(tmp_path, Gemma4Config.from_dict(tiny.config_dict()))


def test_control_tokens_that_are_mere_words(tmp_path: Path) -> None:
    tiny.write_checkpoint(tmp_path)
    config = Gemma4Config.from_dict(tiny.config_dict())
    for token in (None, "<turn|>", "<|image|>", "<|channel>", "<tool_call|>"):
        raw = tiny.tokenizer_json()
        kept = [t for t in raw["added_tokens"] if token and t["content"] != token]
        raw["added_tokens"] = kept
        (tmp_path / "tokenizer.json").write_text(json.dumps(raw))
        with pytest.raises(CheckpointError, match=r"no control token .* not in added_tokens"):
            Processor.from_dir(tmp_path, config)


def test_a_control_token_that_only_the_template_has(tmp_path: Path) -> None:
    tiny.write_checkpoint(tmp_path)
    raw = tiny.tokenizer_json()
    raw["added_tokens"] = [t for t in raw["added_tokens"] if t["content"] != "<|think|>"]
    raw["model"]["vocab"]["<other>"] = raw["model"]["vocab"].pop("<|think|>")
    (tmp_path / "tokenizer.json").write_text(json.dumps(raw))
    config = Gemma4Config.from_dict(tiny.config_dict())
    with pytest.raises(CheckpointError, match=r"no control token '<\|think\|>', which"):
        Processor.from_dir(tmp_path, config)
    (tmp_path / "chat_template.jinja").write_text("<bos>{{ messages[0].content }}")
    Processor.from_dir(tmp_path, config)


def test_mel_bins_of_another_tower(tmp_path: Path) -> None:
    tiny.write_checkpoint(tmp_path)
    raw = tiny.processor_dict(feature_size=64)
    (tmp_path / "processor_config.json").write_text(json.dumps(raw))
    with pytest.raises(CheckpointError, match=r"feature_size is 64, .* audio tower takes 128"):
        Processor.from_dir(tmp_path, Gemma4Config.from_dict(tiny.config_dict()))
    Processor.from_dir(tmp_path, Gemma4Config.from_dict(tiny.config_dict(audio=False)))
