"""``gemma4 info``: the screen, its JSON, and what it says of models that are not whole."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gemma4_cli.units import billions, size, tokens
from gemma4_convert import datasheet
from gemma4_mlx.demo import demo_path
from gemma4_mlx.hub import ALIASES
from gemma4_mlx.memory import Room
from gemma4_mlx.released import released_config
from tests import goldens

Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache, and a hub that must not be asked."""
    from huggingface_hub import constants

    from gemma4_mlx.loading import find

    def asked(hub_id: str) -> Path:
        raise AssertionError(f"the hub was asked for {hub_id}")

    folder = tmp_path / "hub"
    folder.mkdir()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(find, "_from_hub", asked)
    return folder


@pytest.fixture
def has(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Says how much room this machine has."""

    def give(gigabytes: float, kind: Any = "memory") -> None:
        monkeypatch.setattr(datasheet, "room", lambda: Room(round(gigabytes * 1e9), kind))

    return give


def in_cache(cache: Path, hub_id: str, source: Path) -> Path:
    """A model in the cache, as huggingface_hub lays it out."""
    folder = cache / f"models--{hub_id.replace('/', '--')}"
    snapshot = folder / "snapshots" / ("0" * 40)
    shutil.copytree(source, snapshot)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("0" * 40)
    return snapshot


def with_config(path: Path, raw: dict[str, Any]) -> Path:
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps(raw))
    return path


def one_line(result: Any, *words: str) -> None:
    lines = result.err.splitlines()
    assert (result.status, result.out, len(lines)) == (1, "", 1), result
    assert all(word in lines[0] for word in words), lines[0]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("e2b", ["5.1B parameters, 2.3B effective", "5,123,178,051", "2,279,759,139", "46 %"]),
        ("e4b", ["8.0B parameters, 4.6B effective", "7,996,156,490", "4,644,441,130"]),
        ("26b", ["25.2B without", "3.8B active", "25,805,936,206", "25,233,141,790", "8 of 128"]),
        ("31b", ["30.7B without", "31,273,088,876", "30,697,345,340", "keys serve as values"]),
    ],
)
def test_models_that_are_not_downloaded(gemma4: Run, name: str, words: list[str]) -> None:
    result = gemma4("info", name)
    assert (result.status, result.err) == (0, "")
    assert result.out.startswith(ALIASES[name])
    assert f"not downloaded: figures from its config.json; gemma4 pull {name}" in result.out
    assert [word for word in words if word not in result.out] == []
    lines = result.out.splitlines()
    assert max(map(len, lines)) <= 80 and len(lines) <= 50
    assert gemma4("info", ALIASES[name]).out == gemma4("info", name.upper()).out == result.out


def test_the_layer_plan_is_drawn(gemma4: Run) -> None:
    lines = gemma4("info", "e2b").out.splitlines()
    assert "    0 ▪▪▪▪█ ▪▪▪▪█ ▪▪▪▪█" in lines
    assert "   15 ▫▫▫▫□ ▫▫▫▫□ ▫▫▫▫□ ▫▫▫▫□" in lines
    assert "    0" + " ▪▪▪▪▪█" * 10 in gemma4("info", "31b").out.splitlines()
    tiny = gemma4("info", goldens.checkpoint("e4b")).out.splitlines()
    assert "    0 ▪▪▪█ ▪▪" in tiny and "    6 ▫□ ▫□" in tiny


def test_a_plan_longer_than_a_line_is_continued(gemma4: Run, tmp_path: Path) -> None:
    raw = released_config("31b")
    kinds = raw["text_config"]["layer_types"]
    raw["text_config"] |= {"layer_types": kinds * 2, "num_hidden_layers": 120}
    lines = gemma4("info", with_config(tmp_path / "long", raw)).out.splitlines()
    assert "   60" + " ▪▪▪▪▪█" * 10 in lines
    assert max(map(len, lines)) <= 80


def test_the_demo_is_read_from_its_files(gemma4: Run) -> None:
    result = gemma4("info", "demo")
    assert (result.status, result.err) == (0, "")
    assert "8 bits/32" in result.out and "9.00" in result.out
    assert "\x1b" not in result.out


def test_json_has_every_figure(gemma4: Run) -> None:
    told = json.loads(gemma4("info", "e2b", "--json").out)
    assert told["sizes_from"] == "config.json" and told["path"] is None
    assert told["parameters"]["total"] == 5_123_178_051
    assert told["parameters"]["components"]["audio"] == 304_825_088
    assert [layer["kv_from"] for layer in told["layers"][13:20]] == [None, None, *[13] * 4, 14]
    assert told["layers"][34]["mlp_width"] == 12_288
    contexts = told["memory"]["contexts"]
    assert [row["tokens"] for row in contexts] == [1024 * 2**i for i in range(2, 8)]
    first, memory = contexts[0], told["memory"]
    assert first["kv_cache"] == 30 * 2**20
    assert memory["per_layer_table"] == 2 * 2_348_810_240
    assert first["text"] == memory["decoder"] + first["kv_cache"]
    assert first["with_towers"] == first["text"] + memory["towers"]
    parts = memory["decoder"] + memory["towers"] + told["unused_bytes"]
    assert memory["per_layer_table_in_memory"] is False
    assert told["file_bytes"] == parts + memory["per_layer_table"]

    demo = json.loads(gemma4("info", "demo", "--json").out)
    assert demo["sizes_from"] == "files" and demo["path"] == str(demo_path())
    assert demo["memory"]["per_layer_table_in_memory"] is True


def test_a_directory_with_nothing_but_a_config(gemma4: Run, tmp_path: Path) -> None:
    raw = released_config("e2b")
    path = with_config(tmp_path / "bare", raw)
    told = gemma4("info", path).out
    assert "no weights here: figures from its config.json" in told and "guess" not in told
    assert "5,123,178,051" in told

    quantization = {"group_size": 64, "bits": 4, "mode": "affine"}
    with_config(path, raw | {"quantization": quantization})
    told = gemma4("info", path).out
    assert "what is packed is a guess" in told
    assert "4 bits/64" in told and "5,104,297,539" in told  # conversions drop what is borrowed


def test_a_model_in_the_cache(gemma4: Run, cache: Path) -> None:
    snapshot = in_cache(cache, "someone/tiny-gemma-4", demo_path())
    result = gemma4("info", "someone/tiny-gemma-4", "--json")
    assert json.loads(result.out)["path"] == str(snapshot)


def test_a_download_that_broke_off(gemma4: Run, cache: Path) -> None:
    snapshot = in_cache(cache, ALIASES["e2b"], demo_path())
    (snapshot / "tokenizer.json").unlink()
    assert "downloaded in part: figures from its config.json" in gemma4("info", "e2b").out


def test_text_alone(gemma4: Run, tmp_path: Path) -> None:
    raw = released_config("31b") | {"vision_config": None}
    told = gemma4("info", with_config(tmp_path / "text", raw)).out
    assert "30.7B parameters, text alone" in told and "towers" not in told


def test_files_that_do_not_fit_are_told(gemma4: Run, tmp_path: Path) -> None:
    shutil.copytree(goldens.checkpoint("e2b"), tmp_path / "mixed")
    raw = json.loads((goldens.checkpoint("e2b") / "config.json").read_text())
    raw["text_config"] |= {
        "num_hidden_layers": 11,
        "layer_types": ["sliding_attention", *raw["text_config"]["layer_types"]],
    }
    result = gemma4("info", with_config(tmp_path / "mixed", raw))
    assert result.status == 0
    assert "do not fit config.json" in result.err and "gemma4 verify" in result.err


@pytest.mark.parametrize(
    ("gigabytes", "verdict"),
    [
        (100, "Fits the 100 GB of this machine's memory, up to the full context."),
        (5.58, "Fits the 5.58 GB of this machine's memory up to 8K tokens of context."),
        (4.7, "for text alone, up to 16K tokens of context."),
        (4.0, "Does not fit the 4.00 GB of this machine's memory. gemma4 convert makes it"),
    ],
)
def test_whether_it_fits(gemma4: Run, has: Run, gigabytes: float, verdict: str) -> None:
    has(gigabytes)
    told = " ".join(gemma4("info", "e2b").out.split())
    assert verdict in told and "stays on flash" in told


def test_on_a_mac_the_gpu_counts(gemma4: Run, has: Run) -> None:
    has(12, "working set")
    told = " ".join(gemma4("info", "e2b").out.split())
    assert "Fits the 12.0 GB that Metal recommends for the GPU, up to the full context." in told
    assert json.loads(gemma4("info", "e2b", "--json").out)["memory"]["room_is"] == "working set"


def test_headings_stand_out_on_a_terminal(
    gemma4: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = gemma4("info", "demo").out
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    styled = gemma4("info", "demo").out
    assert "\x1b[1mParameters\x1b[0m" in styled
    assert styled.replace("\x1b[1m", "").replace("\x1b[0m", "") == plain


def test_models_that_are_none(gemma4: Run, tmp_path: Path) -> None:
    one_line(gemma4("info", "nonsense"), "nonsense", "demo")
    one_line(gemma4("info", "someone/something"), "gemma4 pull someone/something")
    one_line(gemma4("info", tmp_path), "config.json is missing")
    raw = released_config("e2b")
    for changes, words in [
        ({"model_type": "llama"}, ["llama"]),
        ({"model_type": "gemma4_unified"}, ["12B", "not supported yet"]),
        ({"model_type": "gemma4_assistant"}, ["assistant", "not supported yet"]),
        ({"model_type": "gemma4_unified_assistant"}, ["assistant", "not supported yet"]),
        ({"text_config": None}, ["text_config"]),
        ({"quantization_config": {"quant_method": "awq"}}, ["awq"]),
    ]:
        one_line(gemma4("info", with_config(tmp_path / "other", raw | changes)), *words)
    assert gemma4("info").status == 2


def test_damaged_weights(gemma4: Run, tmp_path: Path) -> None:
    path = with_config(tmp_path / "cut", released_config("e2b"))
    (path / "model.safetensors").write_bytes(b"\0" * 20)
    one_line(gemma4("info", path), "model.safetensors", "download it again")


def test_units() -> None:
    sizes = {0: "0 bytes", 999: "999 bytes", 1000: "1.00 kB", 99_960: "100 kB", 10**7: "10.0 MB"}
    sizes |= {999_600_000: "1.00 GB", 62_546_177_752: "62.5 GB", 10**12: "1000 GB"}
    assert {count: size(count) for count in sizes} == sizes
    assert [tokens(count) for count in (512, 4096, 262_144, 5000)] == ["512", "4K", "256K", "5,000"]
    assert billions(5_123_178_051) == "5.1B" and billions(999_600_000) == "1.0B"
    assert billions(4_076_250) == "4.1M"
