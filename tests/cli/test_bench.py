"""``gemma4 bench``, on the demo model."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gemma4_mlx.generation.benchmark import benchmark, random_prompt
from gemma4_mlx.loading import load_model
from gemma4_mlx.memory import kv_cache_bytes
from gemma4_mlx.text.fused.compiling import COMPILED
from tests import goldens
from tests.cli.test_errors import one_line

Run = Callable[..., Any]


def test_json(gemma4: Run) -> None:
    result = gemma4("bench", "demo", "-p", 12, "-p", 20, "-p", 12, "-g", 4, "-n", 2, "--json")
    assert result.status == 0
    assert result.err.splitlines() == [  # where no bar can be drawn, so that minutes are not silent
        "gemma4: prompt of 12 tokens: warming up, then 2 trials",
        "gemma4: prompt of 20 tokens: warming up, then 2 trials",
    ]
    report = json.loads(result.out)
    assert report["model"] == "demo" and report["versions"]["mlx"] and report["device"]
    assert [found["prompt_tokens"] for found in report["results"]] == [12, 20]
    config = load_model("demo").config.text
    for found in report["results"]:
        one, two = found["trials"]
        assert one.keys() == two.keys() == found.keys() - {"trials"}
        assert found["generated_tokens"] == 4
        for name in ("prefill_tps", "decode_tps", "time_to_first_token", "host_time"):
            assert 0 < min(one[name], two[name]) <= found[name] <= max(one[name], two[name])
        assert one["prefill_tps"] * one["time_to_first_token"] == pytest.approx(
            one["prompt_tokens"], rel=0.01
        )
        # The last of the four tokens is not taken in any more.
        assert found["kv_bytes"] == kv_cache_bytes(config, found["prompt_tokens"] + 3)
        assert found["peak_memory"] > found["kv_bytes"]


def test_table(gemma4: Run) -> None:
    result = gemma4("bench", "demo", "-p", 12, "-g", 3, "-n", 1)
    assert result.status == 0
    head, rule, row, settings = result.out.splitlines()
    for title in ("prompt", "prefill, tok/s", "first token", "decode, tok/s", "host", "KV"):
        assert title in head
    assert set(rule.strip()) == {"─"}
    assert row.split()[0] == "12" and len(row) <= 100
    assert settings == "per-layer embeddings in memory"


@pytest.mark.parametrize("ple", ["flash", "memory"])
def test_where_the_table_was_and_the_bits_of_the_cache(gemma4: Run, ple: str) -> None:
    settings = ("-p", 12, "-g", 3, "-n", 1, "--ple", ple, "--kv-bits", 8)
    result = gemma4("bench", "demo", *settings)
    where = {"flash": "on flash", "memory": "in memory"}[ple]
    told = f"per-layer embeddings {where}, keys and values of global layers in 8 bits"
    assert result.status == 0 and result.out.splitlines()[-1] == told

    report = json.loads(gemma4("bench", "demo", *settings, "--json").out)
    assert (report["ple"], report["kv_bits"]) == (ple, 8)
    config = load_model("demo").config.text
    assert report["results"][0]["kv_bytes"] == kv_cache_bytes(config, 14, kv_bits=8)


def test_a_model_without_a_table(gemma4: Run) -> None:
    path = goldens.checkpoint("31b")
    report = json.loads(gemma4("bench", path, "-p", 5, "-g", 2, "-n", 1, "--json").out)
    assert (report["ple"], report["kv_bits"]) == (None, None)
    assert len(gemma4("bench", path, "-p", 5, "-g", 2, "-n", 1).out.splitlines()) == 3


def test_the_runs_of_a_benchmark() -> None:
    model = load_model("demo")
    runs: list[tuple[int, int]] = []
    figures = benchmark(
        model, [5, 6], generated_tokens=2, trials=2, on_trial=lambda *run: runs.append(run)
    )
    assert runs == []
    assert [len(found.trials) for found in figures] == [2, 2]
    assert runs == [(length, number) for length in (5, 6) for number in (0, 1, 2)]


def test_trials_are_of_compiled_steps() -> None:
    """However few tokens they have: the run that warms up takes the steps before."""
    model = load_model(goldens.checkpoint("26b"))
    model.language_model.compile_steps = True  # also where there is no g++
    ways = []

    def watch(_length: int, number: int) -> None:
        fused = model.language_model._fused
        ways.append(number and fused is not None and fused.way is COMPILED)

    list(benchmark(model, [5], generated_tokens=2, trials=2, on_trial=watch))
    assert ways == [0, True, True]


def test_a_random_prompt_holds_no_placeholder() -> None:
    model = load_model("demo")
    ids = random_prompt(model, 20_000)
    assert ids == random_prompt(model, 20_000)
    vocabulary = model.config.text.vocab_size
    placeholders = set(model.config.placeholders)
    assert placeholders and set(range(vocabulary)) - set(ids) == placeholders


def test_bad_input_is_one_line(gemma4: Run, tmp_path: Path) -> None:
    one_line(gemma4("bench", "demo", "-p", 12, "-p", 9000), "9000", "8192", "ask for less")
    one_line(gemma4("bench", "demo", "-p", 8000, "-g", 200), "8000", "200", "8192")
    one_line(gemma4("bench", tmp_path), "config.json")
    one_line(gemma4("bench", "nonsense"), "nonsense")
    tiny = goldens.checkpoint("31b")  # 40 numbers a head
    one_line(
        gemma4("bench", tiny, "-p", 5, "-g", 2, "--kv-bits", 8), "groups of 32", "leave kv_bits out"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["demo", "-p", "0"],
        ["demo", "-p", "x"],
        ["demo", "-g", "1"],
        ["demo", "-n", "0"],
        ["demo", "--kv-bits", "4"],
        ["demo", "--ple", "disk"],
    ],
)
def test_wrong_usage_is_2(gemma4: Run, arguments: list[str]) -> None:
    result = gemma4("bench", *arguments)
    assert (result.status, result.out) == (2, "")
    assert "Usage: gemma4 bench" in result.err
