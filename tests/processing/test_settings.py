import json
from pathlib import Path
from typing import Any

import pytest

from gemma4_mlx.errors import CheckpointError, InputError
from gemma4_mlx.processing.settings import ProcessorSettings, check_budget
from tests.processing import tiny


def test_released_file_gives_the_defaults() -> None:
    assert ProcessorSettings.from_dict(tiny.processor_dict()) == ProcessorSettings()
    assert ProcessorSettings().max_samples == 480_000


@pytest.mark.parametrize("lost", ["feature_extractor", "image_processor", "video_processor"])
def test_a_lost_block_means_the_released_values(lost: str) -> None:
    raw = tiny.processor_dict()
    del raw[lost]
    assert ProcessorSettings.from_dict(raw) == ProcessorSettings()
    assert ProcessorSettings.from_dict({**raw, lost: None}) == ProcessorSettings()


def test_a_lost_file_means_the_released_values(tmp_path: Path) -> None:
    assert ProcessorSettings.from_dir(tmp_path) == ProcessorSettings()


def test_settings_are_read() -> None:
    raw = tiny.processor_dict(feature_size=64, frame_length=400, hop_length=200, mel_floor=1e-5)
    raw["image_processor"]["max_soft_tokens"] = 1120
    raw["video_processor"].update(num_frames=8, max_soft_tokens=140)
    raw["audio_seq_length"] = 100
    settings = ProcessorSettings.from_dict(raw)
    assert settings.mel.feature_size == 64
    assert (settings.mel.frame_length, settings.mel.hop_length) == (400, 200)
    assert (settings.mel.fft_length, settings.mel.mel_floor) == (512, 1e-5)
    assert settings.image.max_soft_tokens == 1120
    assert (settings.video.num_frames, settings.video.frames.max_soft_tokens) == (8, 140)
    assert settings.max_samples == 64_000


def test_lengths_in_milliseconds() -> None:
    raw = {"feature_extractor": {"frame_length_ms": 32.0, "hop_length_ms": 16.0}}
    mel = ProcessorSettings.from_dict(raw).mel
    assert (mel.frame_length, mel.hop_length, mel.fft_length) == (512, 256, 512)
    raw["feature_extractor"]["fft_overdrive"] = True
    assert ProcessorSettings.from_dict(raw).mel.fft_length == 1024


@pytest.mark.parametrize(
    ("block", "key", "value"),
    [
        ("image_processor", "max_soft_tokens", 100),
        ("image_processor", "do_resize", False),
        ("video_processor", "do_rescale", False),
        ("feature_extractor", "dither", 0.1),
        ("feature_extractor", "preemphasis", 0.97),
        ("feature_extractor", "padding_side", "left"),
        ("feature_extractor", "sampling_rate", 48_000),
    ],
)
def test_settings_no_gemma_has(block: str, key: str, value: Any) -> None:
    raw = tiny.processor_dict()
    raw[block][key] = value
    with pytest.raises(CheckpointError, match=key):
        ProcessorSettings.from_dict(raw)


BLOCKS = {"image": "image_processor", "video": "video_processor", "mel": "feature_extractor"}


@pytest.mark.parametrize(
    ("block", "key", "values"),
    [
        ("image", "max_soft_tokens", ["280", 5, [70], 70.0, True]),
        ("image", "resample", [99, -1, 6, "bicubic", True, 3.0]),
        ("image", "rescale_factor", ["x", 0, -1, True, float("nan"), 10**400]),
        ("image", "patch_size", [0, "16"]),
        ("image", "pooling_kernel_size", [0, 1.5]),
        ("image", "do_normalize", ["false", 1]),
        ("image", "do_rescale", [1, "true"]),
        ("video", "image_mean", ["abc", [0], 3, [0, 0, "x"], [0, 0, float("inf")]]),
        ("video", "image_std", [[0, 0, 0], [1, 1], [1, 1, 0]]),
        ("video", "num_frames", ["32", -5, 0, 2.5, True]),
        ("mel", "hop_length", [0, "160", -1]),
        ("mel", "frame_length", [-1, 0, 10**9]),
        ("mel", "frame_length_ms", [0, "20", -1, 1e-9, float("inf")]),
        ("mel", "sampling_rate", ["16k", -1, 0, True, 8_000, 44_100, 16_000.5]),
        ("mel", "feature_size", ["x", 0]),
        ("mel", "fft_length", [16, "512", 319]),
        ("mel", "fft_overdrive", ["no", 0]),
        ("mel", "per_bin_mean", [3, [1, 2]]),
        ("mel", "per_bin_stddev", [[0] * 128, ["x"] * 128]),
        ("mel", "mel_floor", ["x", -1, float("inf")]),
        ("mel", "input_scale_factor", [0, "1"]),
        ("mel", "min_frequency", [-1, "0"]),
        ("mel", "max_frequency", [-5, 0]),
        ("mel", "dither", ["x", False]),
        ("", "audio_seq_length", ["750", -1, 0]),
        ("", "audio_ms_per_token", ["x", 0, 1.5]),
        ("", "image_processor", ["x", [], 0, False]),
    ],
)
def test_every_value_is_checked(block: str, key: str, values: list[Any]) -> None:
    for value in values:
        raw = tiny.processor_dict()
        (raw[BLOCKS[block]] if block else raw)[key] = value
        name = f"{BLOCKS[block]}.{key}" if block else key
        with pytest.raises(CheckpointError) as error:
            ProcessorSettings.from_dict(raw)
        message = str(error.value)
        assert message.startswith(f"processor_config.json: {name} is "), message
        assert ", expected " in message and "\n" not in message


def test_values_at_the_limits() -> None:
    raw = tiny.processor_dict(mel_floor=0, fft_length=320, per_bin_stddev=[2] * 128)
    raw["image_processor"].update(resample=0, do_normalize=True, image_std=[1, 2, 4])
    settings = ProcessorSettings.from_dict(raw)
    assert (settings.mel.mel_floor, settings.mel.fft_length) == (0, 320)
    assert settings.mel.per_bin_stddev == (2.0,) * 128
    assert (settings.image.resample, settings.image.std) == (0, (1.0, 2.0, 4.0))


def test_damaged_files(tmp_path: Path) -> None:
    file = tmp_path / "processor_config.json"
    for content in ("", "{", "[]", json.dumps({"image_processor": 5})):
        file.write_text(content)
        with pytest.raises(CheckpointError, match=r"processor_config\.json"):
            ProcessorSettings.from_dir(tmp_path)


def test_budgets() -> None:
    for budget in (70, 140, 280, 560, 1120):
        check_budget(budget)
    odd: Any
    for odd in (100, 70.0, "70", [70]):
        with pytest.raises(InputError, match="max_soft_tokens is "):
            check_budget(odd)
