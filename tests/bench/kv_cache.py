"""The cache of a layer whose keys serve as values: its bytes, and what a step over it takes.

    python -m tests.bench.kv_cache ours 31b

A model of one global layer with the heads of the release and a small hidden size, its cache filled
with zeros; what is measured lies in the cache and the attention alone. Bytes are those of this one
layer in bfloat16, times the global layers of the release. A step is timed in float32, for which
the CPU has a fast product; its peak is what MLX holds beyond model and cache while it runs.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import mlx.core as mx

from gemma4_mlx.released import released_config
from tests.bench.side_by_side import environment, run

FAMILIES = ("26b", "31b")
ENGINES = ("ours", "mlx-lm")
CONTEXTS = (8192, 32768, 131072, 262144)
STEP_CONTEXTS = (4096, 32768)
STEPS = 7
GLOBAL = "full_attention"

# Takes ids (1, 1), returns logits; and a function that fills the cache and tells its bytes.
Step = Callable[[mx.array], mx.array]
Fill = Callable[[int], int]


def section(families: Sequence[str], rounds: int) -> Iterator[str]:
    """Markdown: bytes at several contexts, then milliseconds and megabytes of a step."""
    yield "| shape | measured | context | ours | mlx-lm | ours / mlx-lm |"
    yield "|---|---|---:|---:|---:|---:|"
    for family in (family for family in families if family in FAMILIES):
        found = [_of(engine, family) for _ in range(rounds) for engine in ENGINES]
        layers = released_config(family)["text_config"]["layer_types"].count(GLOBAL)
        for key in found[0]:
            what, context = key.split()
            ours, theirs = (
                statistics.median(figures[key] for figures in found[i :: len(ENGINES)])
                for i in range(len(ENGINES))
            )
            show, title = _TITLES[what]
            times = layers if what == "bytes" else 1
            yield (
                f"| {family} | {title} | {int(context):,} | {show(ours * times)} | "
                f"{show(theirs * times)} | {ours / theirs:.3f} |"
            )


_TITLES: dict[str, tuple[Callable[[float], str], str]] = {
    "bytes": (lambda value: f"{value / 1e6:,.1f}", "cache of all global layers, MB"),
    "seconds": (lambda value: f"{value * 1e3:.1f}", "a step over one layer, ms"),
    "peak": (lambda value: f"{value / 1e6:.2f}", "beyond model and cache meanwhile, MB"),
}


def _of(engine: str, family: str) -> dict[str, float]:
    print(f"cache, {family}: {engine}", file=sys.stderr)
    command = [sys.executable, "-m", "tests.bench.kv_cache", engine, family]
    figures: dict[str, float] = json.loads(run(command, environment()))
    return figures


def text_config(family: str) -> dict[str, Any]:
    """One global layer with the heads of the release."""
    text: dict[str, Any] = released_config(family)["text_config"]
    return text | {
        "num_hidden_layers": 1,
        "layer_types": [GLOBAL],
        "hidden_size": 128,
        "intermediate_size": 128,
        "vocab_size": 1024,
        "enable_moe_block": False,
    }


def ours(family: str, dtype: mx.Dtype) -> tuple[Step, Fill]:
    from gemma4_mlx.config import Gemma4Config
    from gemma4_mlx.model import Gemma4Model

    config = Gemma4Config.from_dict({
        **released_config(family),
        "text_config": text_config(family),
        "vision_config": None,
        "audio_config": None,
        **{f"{what}_token_id": 5 for what in ("image", "video", "audio")},
    })  # fmt: skip
    model = Gemma4Model(config)
    model.set_dtype(dtype)
    mx.eval(model.parameters())
    cache = model.make_cache()
    (row,), (layer,) = model.plan, cache.layers
    assert layer is not None

    def fill(tokens: int) -> int:
        layer.update(mx.zeros((1, row.kept_heads, tokens - cache.offset, row.kept_width), dtype))
        mx.eval(cache.arrays())
        return cache.nbytes

    return lambda ids: model(ids, cache=cache), fill


def mlx_lm(family: str, dtype: mx.Dtype) -> tuple[Step, Fill]:
    from mlx_lm.models.gemma4_text import Model, ModelArgs

    text = text_config(family)
    model = Model(ModelArgs.from_dict(text))
    model.set_dtype(dtype)
    mx.eval(model.parameters())
    (cache,) = model.make_cache()
    heads, width = text["num_global_key_value_heads"], text["global_head_dim"]

    def fill(tokens: int) -> int:
        new = mx.zeros((1, heads, tokens - cache.offset, width), dtype)
        mx.eval(cache.update_and_fetch(new, new))
        return int(cache.nbytes)

    return lambda ids: model(ids, cache=[cache]), fill


def measure(engine: str, family: str) -> dict[str, float]:
    make = {"ours": ours, "mlx-lm": mlx_lm}[engine]
    figures: dict[str, float] = {}
    _, fill = make(family, mx.bfloat16)
    for context in CONTEXTS:
        figures[f"bytes {context}"] = fill(context)
    del fill
    step, fill = make(family, mx.float32)
    for context in STEP_CONTEXTS:
        fill(context - STEPS - 2)  # the steps stay below the next growth of the buffer
        seconds, peaks = zip(*(_timed(step) for _ in range(STEPS + 1)), strict=True)
        figures[f"seconds {context}"] = statistics.median(seconds[1:])
        figures[f"peak {context}"] = max(peaks[1:])
    return figures


def _timed(step: Step) -> tuple[float, float]:
    mx.clear_cache()
    before = mx.get_active_memory()
    mx.reset_peak_memory()
    start = time.perf_counter()
    mx.eval(step(mx.array([[7]])))
    return time.perf_counter() - start, mx.get_peak_memory() - before


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engine", choices=ENGINES)
    parser.add_argument("family", choices=FAMILIES)
    options = parser.parse_args()
    print(json.dumps(measure(options.engine, options.family)))
