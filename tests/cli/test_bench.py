"""``gemma4 bench``, on the demo model."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gemma4_mlx.generation.benchmark import benchmark, random_prompt
from gemma4_mlx.loading import load_model
from gemma4_mlx.memory import kv_cache_bytes
from tests.cli.test_errors import one_line

Run = Callable[..., Any]


def test_json(gemma4: Run) -> None:
    result = gemma4("bench", "demo", "-p", 12, "-p", 20, "-p", 12, "-g", 4, "-n", 2, "--json")
    assert (result.status, result.err) == (0, "")
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
    assert (result.status, result.err) == (0, "")
    head, rule, row = result.out.splitlines()
    for title in ("prompt", "prefill, tok/s", "first token", "decode, tok/s", "host", "KV"):
        assert title in head
    assert set(rule.strip()) == {"─"}
    assert row.split()[0] == "12" and len(row) <= 100


def test_the_runs_of_a_benchmark() -> None:
    model = load_model("demo")
    runs: list[tuple[int, int]] = []
    figures = benchmark(
        model, [5, 6], generated_tokens=2, trials=2, on_trial=lambda *run: runs.append(run)
    )
    assert runs == []
    assert [len(found.trials) for found in figures] == [2, 2]
    assert runs == [(length, number) for length in (5, 6) for number in (0, 1, 2)]


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


@pytest.mark.parametrize(
    "arguments",
    [[], ["demo", "-p", "0"], ["demo", "-p", "x"], ["demo", "-g", "1"], ["demo", "-n", "0"]],
)
def test_wrong_usage_is_2(gemma4: Run, arguments: list[str]) -> None:
    result = gemma4("bench", *arguments)
    assert (result.status, result.out) == (2, "")
    assert "Usage: gemma4 bench" in result.err
