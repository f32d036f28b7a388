"""``gemma4 convert``: what it writes, what it says where, and bad input in one line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest

from gemma4_cli import pace
from gemma4_cli.pace import Pace
from gemma4_convert.recipe import shipped_recipes
from gemma4_mlx.loading.safetensors_file import checkpoint_tensors
from gemma4_mlx.loading.weights import load_weights
from tests import goldens
from tests.convert.released_headers import headers_of
from tests.reference.checkpoints import (
    copy_checkpoint,
    edit_json,
    read_weights,
    store_as,
    write_weights,
)

Run = Callable[..., Any]

REPOSITORY = Path(__file__).resolve().parents[2]
DEMO_SOURCE = REPOSITORY / "notebooks" / "demo_model" / "hf"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Results named by default are written to the current directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A tiny 31B, without the goldens beside it."""
    path = copy_checkpoint(goldens.checkpoint("31b"), tmp_path / "gemma-4-tiny")
    (path / "expected.safetensors").unlink()
    return path


def refused(result: Any, *words: str) -> None:
    """Exit status 1, nothing on stdout, one line on stderr."""
    assert (result.status, result.out) == (1, ""), result
    lines = result.err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("gemma4: "), result.err
    for word in words:
        assert word in lines[0]


def contents(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- what it writes ------------------------------------------------------------------------------


def test_by_default_balanced_and_named_after_source_and_recipe(gemma4: Run, source: Path) -> None:
    result = gemma4("convert", source)
    assert (result.status, result.out) == (0, "gemma-4-tiny-balanced\n"), result.err
    settings = load_weights(Path("gemma-4-tiny-balanced")).config.quantization
    assert settings is not None and settings["language_model.model.embed_tokens"]["bits"] == 6
    assert "bits a weight" in result.err
    assert "\r" not in result.err and "\x1b" not in result.err, "progress off a terminal"


def test_from_the_current_directory(
    gemma4: Run, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(source)
    result = gemma4("convert", ".", "--dtype", "float32")
    assert (result.status, result.out) == (0, "gemma-4-tiny-fp32\n")


@pytest.mark.parametrize(
    ("options", "name", "expected"),
    [
        (["--recipe", "8bit"], "8bit", (8, 64, "affine")),
        (["-r", "mlx-4bit"], "mlx-4bit", (4, 64, "affine")),
        (["--bits", "3"], "3bit-g64", (3, 64, "affine")),
        (["--bits", "4", "--group-size", "32"], "4bit-g32", (4, 32, "affine")),
        (["--mode", "mxfp4"], "mxfp4", (4, 32, "mxfp4")),
        (["--mode", "mxfp8", "--bits", "8"], "mxfp8", (8, 32, "mxfp8")),
        (["--mode", "nvfp4", "--group-size", "16"], "nvfp4", (4, 16, "nvfp4")),
        (["--mode", "affine", "--group-size", "32"], "4bit-g32", (4, 32, "affine")),
        (["--dtype", "float16"], "fp16", None),
    ],
)
def test_recipes_and_plain_options(
    gemma4: Run, source: Path, options: list[str], name: str, expected: Any
) -> None:
    result = gemma4("convert", source, *options)
    assert (result.status, result.out) == (0, f"gemma-4-tiny-{name}\n"), result.err
    found = load_weights(Path(f"gemma-4-tiny-{name}")).config.quantization
    if expected is None:
        assert found is None
    else:
        assert found is not None
        assert (found["bits"], found["group_size"], found["mode"]) == expected


def test_a_recipe_of_one_s_own_and_a_destination(gemma4: Run, source: Path) -> None:
    Path("mine.toml").write_text("[groups]\nembedding = { bits = 5 }\n")
    result = gemma4("convert", source, "deep/down/model", "--recipe", "mine.toml")
    assert (result.status, result.out) == (0, "deep/down/model\n")
    tensors = checkpoint_tensors(Path("deep/down/model"))
    packed = [name for name in tensors if name.endswith(".scales")]
    assert packed == ["language_model.model.embed_tokens.scales"]


def test_widths_that_nvfp4_does_not_pack_are_kept(gemma4: Run, source: Path) -> None:
    """MLX's CPU backend fails on an odd number of its groups: 57 rows of 3 in the vision tower."""
    raw = json.loads((source / "config.json").read_text())
    raw["vision_config"]["intermediate_size"] = 57
    edit_json(source / "config.json", vision_config=raw["vision_config"])
    weights = read_weights(source)
    for name in weights:
        if name.startswith("model.vision_tower.") and ".mlp." in name:
            shape = (48, 57) if ".down_proj." in name else (57, 48)
            weights[name] = mx.random.normal(shape).astype(mx.bfloat16)
    write_weights(source, weights)
    Path("mine.toml").write_text(
        "[groups]\nvision = { mode = 'nvfp4' }\nattention = { mode = 'nvfp4' }\n"
    )
    plan = gemma4("convert", source, "--recipe", "mine.toml", "--plan")
    assert "vision tower: 12 × width 48 is no multiple of 32: kept" in plan.out, plan
    result = gemma4("convert", source, "x", "--recipe", "mine.toml", "--check")
    assert (result.status, result.out) == (0, "x\n"), result.err
    packed = [name for name in checkpoint_tensors(Path("x")) if name.endswith(".scales")]
    assert packed and all(".self_attn." in name and "vision" not in name for name in packed)


def test_json(gemma4: Run, source: Path) -> None:
    result = gemma4("convert", source, "x", "--json", "--check")
    figures = json.loads(result.out)
    assert figures["dest"] == "x" and figures["recipe"] == "balanced"
    assert figures["problems"] == [] and figures["seconds"] > 0
    assert any("processor_config.json" in told for told in figures["mended"])
    tensors = checkpoint_tensors(Path("x"))
    assert figures["bytes"] == sum(info.nbytes for info in tensors.values())
    assert sum(group["bytes"] for group in figures["groups"]) == figures["bytes"]
    assert sum(group["parameters"] for group in figures["groups"]) == figures["parameters"]
    bits = 8 * figures["bytes"] / figures["parameters"]
    assert figures["bits_per_weight"] == pytest.approx(bits, abs=1e-4)


def test_force_replaces_a_checkpoint(gemma4: Run, source: Path) -> None:
    assert gemma4("convert", source, "x").status == 0
    refused(gemma4("convert", source, "x", "--bits", 8), "x exists")
    assert gemma4("convert", source, "x", "--bits", 8, "--force").status == 0
    settings = load_weights(Path("x")).config.quantization
    assert settings is not None and settings["bits"] == 8


def test_check_says_what_is_wrong(
    gemma4: Run, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gemma4_convert import convert

    write = convert.write_conversion

    def write_badly(plan: Any, dest: Path, *rest: Any, **options: Any) -> None:
        write(plan, dest, *rest, **options)
        weights = read_weights(dest)
        weights["language_model.model.norm.weight"] *= 2
        write_weights(dest, weights)

    assert "checked: every tensor" in gemma4("convert", source, "good", "--check").err
    monkeypatch.setattr(convert, "write_conversion", write_badly)
    result = gemma4("convert", source, "bad", "--check")
    assert result.status == 1
    assert "language_model.model.norm.weight: is not the source's" in result.err
    assert "bad has 1 problems: do not use it" in result.err


def test_float16_and_the_big_vision_tower(gemma4: Run, source: Path) -> None:
    assert "overflows" in gemma4("convert", source, "--plan", "--dtype", "float16").err
    small = goldens.checkpoint("e2b")
    assert gemma4("convert", small, "--plan", "--dtype", "bfloat16").err == ""


@pytest.mark.slow
def test_report_of_the_demo(gemma4: Run) -> None:
    """What it cost, as JSON, as a table on stdout, and in the model card."""
    Path("short.txt").write_text("What is the capital of France? It is Paris.")
    Path("mlp.toml").write_text("[groups]\nmlp = { bits = 8 }\n")
    result = gemma4(
        "convert", DEMO_SOURCE, "x", "-r", "mlp.toml", "--report", "--report-text", "short.txt"
    )
    assert result.status == 0, result.err
    assert "| converted |" in result.out and result.out.endswith("x\n")
    assert "| converted |" in Path("x/README.md").read_text()
    measured = json.loads(Path("x/report.json").read_text())
    assert measured["on"]["text"]["result"]["mean_kl"] < 0.1
    assert load_weights(Path("x")).config.quantization is not None


# --- --plan --------------------------------------------------------------------------------------


def test_the_plan_of_a_released_model(gemma4: Run, tmp_path: Path) -> None:
    """Headers are enough, and nothing is written."""
    headers_of("26b", tmp_path / "gemma-4-26B-A4B-it")
    before = contents(tmp_path)
    result = gemma4("convert", "gemma-4-26B-A4B-it", "--plan")
    assert (result.status, result.err) == (0, "")
    assert contents(tmp_path) == before
    rows = {line.split("  ")[0]: line for line in result.out.splitlines()}
    assert "22,837,985,280" in rows["experts"] and "4 bits, groups of 64" in rows["experts"]
    assert "8 bits, groups of 64" in rows["the experts' router"]
    assert "25,805,936,206" in rows["total"]
    # What was packed otherwise than asked.
    assert "vision tower: 27 × width 4304 is no multiple of 64: kept" in result.out
    for tokens in ("4K", "32K", "128K"):
        assert f"  {tokens} tokens: " in result.out


def test_the_plan_as_json(gemma4: Run, tmp_path: Path) -> None:
    headers_of("e2b", tmp_path / "e2b-files")
    figures = json.loads(gemma4("convert", "e2b-files", "--plan", "--json", "-r", "small").out)
    assert figures["bytes"] == figures["memory"]["weights"] + figures["memory"]["on_flash"]
    assert figures["memory"]["weights"] <= 1.5e9
    in_use = {at["tokens"]: at["bytes"] for at in figures["memory"]["contexts"]}
    assert list(in_use) == [4096, 32768, 131072]
    # E2B: 3 global layers of 512 numbers for keys and for values grow, 12 sliding ones do not.
    assert in_use[131072] - in_use[32768] == (131072 - 32768) * 3 * 2 * 512 * 2
    assert in_use[4096] > figures["memory"]["weights"]


def test_a_model_that_is_not_downloaded_has_a_plan(
    gemma4: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "empty"))
    for name in ("31b", "google/gemma-4-31B-it"):
        result = gemma4("convert", name, "--plan", "--json")
        assert (result.status, len(result.err.splitlines())) == (0, 1)
        assert "not downloaded" in result.err
        figures = json.loads(result.out)
        assert figures["parameters"] == 31_273_088_876
        assert figures["dest"] == "gemma-4-31B-it-balanced"


def test_a_context_beyond_the_model_is_said(gemma4: Run, source: Path) -> None:
    assert "4K tokens: " in (out := gemma4("convert", source, "--plan").out)
    assert out.count("(beyond its limit)") == 3  # the tiny ones read 512 tokens


# --- wrong usage and bad input -------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["{source}", "--recipe", "8bit", "--bits", "4"],
        ["{source}", "--recipe", "8bit", "--mode", "mxfp4"],
        ["{source}", "--recipe", "8bit", "--dtype", "float16"],
        ["{source}", "--bits", "4", "--dtype", "float16"],
        ["{source}", "--group-size", "64"],
        ["{source}", "--recipe", "8bit", "--group-size", "64"],
        ["{source}", "--mode", "int4"],
        ["{source}", "--dtype", "int8"],
        ["{source}", "--bits", "four"],
        ["{source}", "--plan", "--check"],
        ["{source}", "--plan", "--report"],
        ["{source}", "--report-text", "x.txt"],
        ["{source}", "x", "y"],
    ],
)
def test_wrong_usage_is_2(gemma4: Run, source: Path, options: list[str], tmp_path: Path) -> None:
    before = contents(tmp_path)
    result = gemma4("convert", *(option.format(source=source) for option in options))
    assert (result.status, result.out) == (2, "")
    assert "Usage: gemma4 convert" in result.err and "Traceback" not in result.err
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--bits", "7"], ["7 bits in groups of 64", "(2, 3, 4, 5, 6, 8)"]),
        (["--bits", "4", "--group-size", "48"], ["groups of 48", "(32, 64, 128)"]),
        (["--mode", "mxfp4", "--bits", "8"], ["mxfp4 with 8 bits", "4 bits in groups of 32"]),
        (["--mode", "nvfp4", "--group-size", "64"], ["nvfp4", "4 bits in groups of 16"]),
        (["--recipe", "tiny"], ["no recipe 'tiny'", "balanced"]),
        (["--recipe", "none.toml"], ["none.toml"]),
        (["--recipe", "bad.toml"], ["bad.toml", "groups.mpl", "attention, mlp"]),
        (["--report", "--report-text", "none.txt"], ["none.txt"]),
    ],
)
def test_what_cannot_be_asked_for(
    gemma4: Run, source: Path, options: list[str], words: list[str], tmp_path: Path
) -> None:
    Path("bad.toml").write_text("[groups]\nmpl = { bits = 4 }\n")
    before = contents(tmp_path)
    refused(gemma4("convert", source, *options), *words)
    assert contents(tmp_path) == before


def cut_short(source: Path) -> None:
    with (source / "model.safetensors").open("r+b") as file:
        file.truncate(20_000)


def tensor_missing(source: Path) -> None:
    weights = read_weights(source)
    del weights["model.language_model.norm.weight"]
    write_weights(source, weights)


def float64(source: Path) -> None:
    store_as(source, "F64", 8, "model.language_model.norm.weight")


def float8(source: Path) -> None:
    store_as(source, "F8_E4M3", 1, "model.language_model.layers.0.mlp.up_proj.weight")


def integers(source: Path) -> None:
    store_as(source, "I64", 8, "model.language_model.layers.0.layer_scalar")


def other_model(source: Path) -> None:
    edit_json(source / "config.json", model_type="llama")


def quantized_by_others(source: Path) -> None:
    edit_json(source / "config.json", quantization_config={"quant_method": "gptq", "bits": 4})


def index_of(source: Path, file: str) -> None:
    weight_map = dict.fromkeys(checkpoint_tensors(source), file)
    index = source / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))


def shard_missing(source: Path) -> None:
    index_of(source, "model-00001-of-00002.safetensors")


def index_outside(source: Path) -> None:
    index_of(source, "../../model.safetensors")


def no_config(source: Path) -> None:
    (source / "config.json").unlink()


def no_weights(source: Path) -> None:
    (source / "model.safetensors").unlink()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (cut_short, ["cut short", "download it again"]),
        (tensor_missing, ["language_model.norm.weight", "download the checkpoint again"]),
        (float64, ["language_model.norm.weight as 'F64', expected BF16, F16", "in bfloat16"]),
        (float8, ["layers.0.mlp.up_proj.weight as 'F8_E4M3', expected BF16", "save it so first"]),
        (integers, ["layers.0.layer_scalar is mlx.core.int64, expected a floating dtype"]),
        (other_model, ["'llama'", "choose a Gemma 4 checkpoint"]),
        (quantized_by_others, ["'gptq'", "bf16"]),
        (shard_missing, ["model-00001-of-00002.safetensors", "finish the download"]),
        (index_outside, ["outside of the checkpoint"]),
        (no_config, ["config.json is missing"]),
        (no_weights, ["no model.safetensors"]),
    ],
)
def test_bad_sources(
    gemma4: Run, source: Path, spoil: Callable[[Path], None], words: list[str], tmp_path: Path
) -> None:
    spoil(source)
    for options in (["--plan"], []):
        refused(gemma4("convert", source, *options), *words)
    assert contents(tmp_path) == [source.name]


@pytest.mark.parametrize("options", [[], ["--dtype", "float32"]])
@pytest.mark.parametrize("number", [float("nan"), float("-inf")])
def test_what_no_weight_can_be_is_refused(
    gemma4: Run, source: Path, number: float, options: list[str], tmp_path: Path
) -> None:
    """Packed, NaN would become a number like any other."""
    name = "model.language_model.layers.1.self_attn.q_proj.weight"
    weights = read_weights(source)
    weights[name][3, 5] = number
    write_weights(source, weights)
    words = [name.removeprefix("model."), "model.safetensors", "download it again"]
    refused(gemma4("convert", source, "x", *options), *words)
    assert contents(tmp_path) == [source.name]


def test_numbers_too_large_for_float16_are_refused(
    gemma4: Run, source: Path, tmp_path: Path
) -> None:
    weights = read_weights(source)
    weights["model.language_model.layers.0.input_layernorm.weight"][0] = 2**17
    write_weights(source, weights)
    result = gemma4("convert", source, "x", "--dtype", "float16")
    assert result.status == 1
    for words in ("layers.0.input_layernorm.weight", "1.31e+05", "float16", "convert to bfloat16"):
        assert words in result.err.splitlines()[-1]
    assert contents(tmp_path) == [source.name]
    assert gemma4("convert", source, "x", "--dtype", "bfloat16").status == 0


def test_a_report_that_cannot_be_made_is_told_before_anything_is_written(
    gemma4: Run, source: Path, tmp_path: Path
) -> None:
    (source / "tokenizer.json").unlink(missing_ok=True)
    refused(gemma4("convert", source, "x", "--report"), "no tokenizer.json", "without a report")
    assert contents(tmp_path) == [source.name]


def test_options_that_ask_for_different_things_are_named(gemma4: Run, source: Path) -> None:
    result = gemma4("convert", source, "--bits", "4", "--recipe", "small")
    assert "--recipe and --bits ask" in " ".join(result.err.split()) and "--mode" not in result.err


def test_a_quantized_source(gemma4: Run, source: Path) -> None:
    assert gemma4("convert", source, "x").status == 0
    shutil.rmtree(source)
    refused(gemma4("convert", "x", "y"), "quantized already", "the checkpoint it was made from")
    refused(gemma4("convert", "demo"), "quantized already")
    assert contents(Path()) == ["x"]


def test_a_source_that_is_not_there(gemma4: Run) -> None:
    refused(gemma4("convert", "./nowhere"), "./nowhere")
    refused(gemma4("convert", "somebody/nothing"), "somebody/nothing")
    refused(gemma4("convert", "somebody/nothing", "--plan"), "somebody/nothing")


def test_a_destination_in_the_way(
    gemma4: Run, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("x").mkdir()
    refused(gemma4("convert", source, "x"), "x exists", "another destination")
    Path("x/mine.txt").write_text("mine")
    refused(gemma4("convert", source, "x", "--force"), "not replaced")
    assert Path("x/mine.txt").read_text() == "mine"
    refused(gemma4("convert", source, source, "--force"), "holds the source")
    # Said before a model is downloaded.
    from gemma4_mlx import loading

    monkeypatch.setattr(loading, "find_checkpoint", lambda *_, **__: pytest.fail("downloaded"))
    refused(gemma4("convert", "e2b", "x"), "x exists")


# --- progress ------------------------------------------------------------------------------------


def test_progress_by_bytes_with_rate_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 100.05, 102.0, 110.0])
    drawn: list[tuple[str, int, int]] = []
    monkeypatch.setattr(pace.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(pace, "status", lambda *drawing: drawn.append(drawing))
    tell = Pace("writing")
    total = 10_000_000_000
    tell(1_000_000_000, total)  # taken over from an earlier run
    tell(1_010_000_000, total)  # too soon to draw again
    tell(2_000_000_000, total)
    tell(total, total)
    assert drawn == [
        ("writing: 1.00 GB of 10.0 GB", 1_000_000_000, total),
        ("writing: 2.00 GB of 10.0 GB, 500 MB/s, 16 s left", 2_000_000_000, total),
        ("writing: 10.0 GB of 10.0 GB, 900 MB/s, 0 s left", total, total),
    ]


@pytest.mark.parametrize(
    ("seconds", "words"), [(5.4, "5 s"), (200, "3 min 20 s"), (3900, "1 h 05 min")]
)
def test_time_left_in_words(seconds: float, words: str) -> None:
    tell = Pace("writing")
    tell.began = 0.0, 0
    assert tell.message(10.0, 1000, 1000 + round(100 * seconds)).endswith(f", {words} left")


def test_every_shipped_recipe_is_in_the_help(gemma4: Run) -> None:
    text = gemma4("convert", "--help").out
    assert all(name in text for name in shipped_recipes())
