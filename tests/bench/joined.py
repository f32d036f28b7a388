"""A token through two plain matrices that read the same input: as one matrix, and as two.

    python -m tests.bench.joined 1536 6144 --rounds 24

The widths are those of the gate and up projections in the released models, in float32, and of the
narrow shapes. One pair after the other is multiplied, of so many that none is still in the
processor's cache when it comes again; one matrix and two take turns.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator

from tests.bench.side_by_side import environment, in_turns, run

# What they read and what each of the two gives.
SHAPES = {
    "narrow": (128, 512),
    "e2b": (1536, 6144),
    "e2b, wide layers": (1536, 12288),
    "e4b": (2560, 10240),
    "26b": (2816, 2112),
    "31b": (5376, 21504),
}
# Of all the pairs together: several times what a processor keeps.
_NUMBERS = 2**28


def section(rounds: int) -> Iterator[str]:
    """Markdown: one line for a shape."""
    yield "| shape | in × out of each | one matrix, ms | two, ms | one / two |"
    yield "|---|---:|---:|---:|---:|"
    for shape, (width, out) in SHAPES.items():
        print(f"two matrices of {width} × {out}", file=sys.stderr)
        command = [sys.executable, "-m", "tests.bench.joined", str(width), str(out)]
        found = json.loads(run([*command, "--rounds", str(rounds)], environment()))
        one, two = found["one"], found["two"]
        told = [f"{statistics.median(side) * 1e3:.3f}" for side in (one, two)]
        ratio = statistics.median(a / b for a, b in zip(one, two, strict=True))
        yield f"| {shape} | {width:,} × {out:,} | {' | '.join(told)} | {ratio:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("width", type=int)
    parser.add_argument("out", type=int)
    parser.add_argument("--rounds", type=int, default=24)
    options = parser.parse_args()
    one, two = times(options.width, options.out, options.rounds)
    print(json.dumps({"one": one, "two": two}))


def times(width: int, out: int, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds for a pair in every round, as one matrix and as two."""
    import mlx.core as mx

    count = max(2, _NUMBERS // (2 * width * out))
    joined = [mx.random.normal((2 * out, width)) for _ in range(count)]
    x = mx.random.normal((1, width))
    mx.eval(joined, x)
    one = [(pair.T,) for pair in joined]
    two = [(pair[:out].T, pair[out:].T) for pair in joined]

    def seconds(way: list[tuple[mx.array, ...]]) -> float:
        start = time.perf_counter()
        mx.eval([x @ matrix for matrices in way for matrix in matrices])
        return (time.perf_counter() - start) / count

    for way in (one, two):
        seconds(way)
    return in_turns(lambda: seconds(one), lambda: seconds(two), rounds)


if __name__ == "__main__":
    main()
