"""Our token loop and those of mlx-lm and mlx-vlm, behind one call.

Each is the loop that its own ``generate`` runs: prompt in, ids out, greedy, with the engine's own
cache, chunks and pipelining. No tokenizer takes part, so the same ids go into all of them.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import mlx.core as mx

Tokens = Callable[[Sequence[int], int], Iterator[int]]

STEP_SIZE = 2048  # prompt tokens in one piece: everyone's default


def uncompiled(path: Path) -> Tokens:
    """Ours without compiling the layers of a decoding step, as where MLX finds no C++ compiler."""
    return ours(path, compile_steps=False)


def ours(path: Path, compile_steps: bool | None = None) -> Tokens:
    """The per-layer table stays on flash, as it does for the released models on most Macs."""
    from gemma4_mlx.generation.loop import generate_tokens
    from gemma4_mlx.generation.sampling import make_sampler
    from gemma4_mlx.loading import load_model

    model = load_model(path, ple="flash")
    if compile_steps is not None:
        model.language_model.compile_steps = compile_steps
    sampler = make_sampler(model.generation_config, temperature=0)

    def tokens(prompt: Sequence[int], count: int) -> Iterator[int]:
        steps = generate_tokens(
            model,
            {"input_ids": mx.array([list(prompt)])},
            model.make_cache(),
            sampler,
            max_tokens=count,
            prefill_step_size=STEP_SIZE,
        )
        for (token,) in steps:
            yield token

    return tokens


def mlx_lm(path: Path) -> Tokens:
    from mlx_lm.generate import generate_step
    from mlx_lm.utils import load_model

    model, _ = load_model(path)

    def tokens(prompt: Sequence[int], count: int) -> Iterator[int]:
        steps = generate_step(
            mx.array(list(prompt)), model, max_tokens=count, prefill_step_size=STEP_SIZE
        )
        for token, _ in steps:
            yield int(token)

    return tokens


def mlx_vlm(path: Path) -> Tokens:
    from mlx_vlm.generate.ar import generate_step
    from mlx_vlm.utils import load_model

    model = load_model(path)

    def tokens(prompt: Sequence[int], count: int) -> Iterator[int]:
        steps = generate_step(
            mx.array([list(prompt)]),
            model,
            None,
            None,
            max_tokens=count,
            temperature=0.0,
            prefill_step_size=STEP_SIZE,
        )
        for token, _ in steps:
            yield int(token)

    return tokens


def wait_for(engine: str) -> None:
    """Wait for the step that a loop has queued ahead of the token it gave last."""
    if engine == "mlx-lm":
        from mlx_lm.generate import generation_stream
    elif engine == "mlx-vlm":
        from mlx_vlm.generate.common import generation_stream
    else:
        generation_stream = None  # the default stream
    mx.synchronize(generation_stream)


OURS = ("ours", "uncompiled")
ENGINES: dict[str, Callable[[Path], Tokens]] = {
    "ours": ours,
    "uncompiled": uncompiled,
    "mlx-lm": mlx_lm,
    "mlx-vlm": mlx_vlm,
}
