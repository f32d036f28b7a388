"""``gemma4 bench MODEL``: how fast a model reads and writes here, and what it takes."""

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gemma4_cli import options
from gemma4_cli.console import clear_status, notice, say, status
from gemma4_cli.models import warn_of_tight_fit
from gemma4_cli.units import size, tokens

if TYPE_CHECKING:
    from gemma4_mlx.generation.benchmark import Figures, Trial

_LENGTHS = (512, 4096)
_TITLES = (
    "prompt",
    "prefill, tok/s",
    "first token",
    "decode, tok/s",
    "host a token",
    "peak memory",
    "KV",
)


def bench(
    model: Annotated[
        str, typer.Argument(help="A directory, a hub id, e2b, e4b, 26b, 31b, or demo.")
    ],
    prompt_tokens: Annotated[
        list[int] | None,
        typer.Option(
            "--prompt-tokens",
            "-p",
            min=1,
            help="Length of a prompt; may be repeated. [default: 512 and 4096]",
            show_default=False,
        ),
    ] = None,
    generation_tokens: Annotated[
        int, typer.Option("--generation-tokens", "-g", min=2, help="Length of a reply.")
    ] = 128,
    num_trials: Annotated[
        int, typer.Option("--num-trials", "-n", min=1, help="Runs to take the median of.")
    ] = 3,
    prefill_step_size: Annotated[
        int, typer.Option("--prefill-step-size", min=1, help="Prompt tokens read in one piece.")
    ] = 2048,
    ple: options.Ple = "auto",
    kv_bits: options.KvBits = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print all figures of all trials as JSON.")
    ] = False,
) -> None:
    """Measure speed and memory with random prompts; options and figures as of mlx_lm.benchmark.

    Rates are tokens a second. "host" is the processor time this computer spends on a token beside
    the GPU's work. Loading is not measured.
    """
    from gemma4_mlx.generation.benchmark import benchmark
    from gemma4_mlx.loading import find_checkpoint, load_model
    from gemma4_mlx.loading.ple_rows import table_placement

    checkpoint = find_checkpoint(model)  # a download shows its own progress
    status(f"loading {model}")
    gemma = load_model(checkpoint, ple=ple)
    warn_of_tight_fit(gemma)
    lengths = list(dict.fromkeys(prompt_tokens or _LENGTHS))
    done = 0

    def show(length: int, number: int) -> None:
        nonlocal done
        if number == 0 and not sys.stderr.isatty():
            notice(f"prompt of {length:,} tokens: warming up, then {num_trials} trials")
        what = f"trial {number} of {num_trials}" if number else "warming up"
        status(f"prompt of {length:,} tokens: {what}", done, len(lengths) * (num_trials + 1))
        done += 1

    figures = list(
        benchmark(
            gemma,
            lengths,
            generated_tokens=generation_tokens,
            trials=num_trials,
            prefill_step_size=prefill_step_size,
            kv_bits=kv_bits,
            on_trial=show,
        )
    )
    clear_status()
    table = table_placement(gemma.ple_rows)
    if as_json:
        report = _report(model, table, kv_bits, figures)
        say(json.dumps(report, ensure_ascii=False, indent=2), end="\n")
    else:
        say(_table(figures) + _settings(table, kv_bits))


def _settings(table: str | None, kv_bits: int | None) -> str:
    """What was measured: a line below the table, empty when there is nothing to tell."""
    told = []
    if table is not None:
        told.append(f"per-layer embeddings {'on' if table == 'flash' else 'in'} {table}")
    if kv_bits is not None:
        told.append(f"keys and values of global layers in {kv_bits} bits")
    return f"{', '.join(told)}\n" if told else ""


def _report(
    model: str, table: str | None, kv_bits: int | None, figures: "list[Figures]"
) -> dict[str, Any]:
    from importlib.metadata import version

    import mlx.core as mx

    from gemma4_mlx import __version__

    return {
        "model": model,
        "device": mx.device_info().get("device_name", str(mx.default_device())),
        "ple": table,
        "kv_bits": kv_bits,
        "versions": {"gemma4-mlx": __version__, "mlx": version("mlx")},
        "results": [
            _rounded(found) | {"trials": [_rounded(trial) for trial in found.trials]}
            for found in figures
        ],
    }


def _rounded(found: "Figures | Trial") -> dict[str, Any]:
    return {
        "prompt_tokens": found.prompt_tokens,
        "generated_tokens": found.generated_tokens,
        "prefill_tps": round(found.prefill_tps, 2),
        "decode_tps": round(found.decode_tps, 2),
        "time_to_first_token": round(found.time_to_first_token, 6),
        "host_time": round(found.host_time, 6),
        "peak_memory": found.peak_memory,
        "kv_bytes": found.kv_bytes,
    }


def _table(figures: "list[Figures]") -> str:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in _TITLES:
        table.add_column(title, justify="right", no_wrap=True)
    for found in figures:
        table.add_row(
            tokens(found.prompt_tokens),
            _rate(found.prefill_tps),
            _seconds(found.time_to_first_token),
            _rate(found.decode_tps),
            _seconds(found.host_time),
            size(found.peak_memory),
            size(found.kv_bytes),
        )
    console = Console(width=120, color_system=None)
    with console.capture() as captured:
        console.print(table)
    return "\n".join(line.rstrip() for line in captured.get().splitlines() if line.strip()) + "\n"


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 99.5 else f"{value:.1f}"


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value >= 0.9995 else f"{value * 1e3:.2f} ms"
