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
    ],
)
def test_settings_no_gemma_has(block: str, key: str, value: Any) -> None:
    raw = tiny.processor_dict()
    raw[block][key] = value
    with pytest.raises(CheckpointError, match=key):
        ProcessorSettings.from_dict(raw)


def test_damaged_files(tmp_path: Path) -> None:
    file = tmp_path / "processor_config.json"
    for content in ("", "{", "[]", json.dumps({"image_processor": 5})):
        file.write_text(content)
        with pytest.raises(CheckpointError, match=r"processor_config\.json"):
            ProcessorSettings.from_dir(tmp_path)


def test_budgets() -> None:
    for budget in (70, 140, 280, 560, 1120):
        check_budget(budget)
    with pytest.raises(InputError, match="max_soft_tokens is 100"):
        check_budget(100)
