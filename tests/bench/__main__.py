"""Everything that is compared with mlx-lm and mlx-vlm: ``python -m tests.bench [SECTION…]``.

    python -m tests.bench                                # every section
    python -m tests.bench decode --families e2b --rounds 1
    python -m tests.bench operations --write             # and put the table into BENCHMARKS.md

    python -m tests.bench conversion --small             # see conversion.py for its options

Tables go to stdout, what is going on to stderr.
"""

import argparse
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from gemma4_mlx.released import RELEASED
from tests.bench import (
    conversion,
    flash,
    joined,
    kv_bits,
    kv_cache,
    lockstep,
    memory,
    report,
    sampling,
    start,
    transcribing,
)
from tests.bench.checkpoints import SCALES
from tests.bench.engines import ENGINES, OURS
from tests.bench.side_by_side import (
    Job,
    Measure,
    count,
    gigabytes,
    milliseconds,
    rate,
    run_job,
    table,
)

# A prompt shorter than the window of a local layer, and one longer than it.
SHORT, LONG = 32, 1100
PEERS = [engine for engine in ENGINES if engine not in OURS]


def main() -> int:
    if sys.argv[1:2] == ["conversion"]:
        del sys.argv[1]
        return conversion.main()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--families", nargs="+", choices=RELEASED, default=list(RELEASED))
    parser.add_argument("--scales", nargs="+", choices=SCALES, help="else those of the section")
    parser.add_argument("--prompts", nargs="+", type=int, help="else those of the section")
    parser.add_argument("--tokens", type=int, help="to decode; else as many as the section does")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, help="else those of the section")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=30, help="of sound to transcribe")
    parser.add_argument(
        "--lengths",
        nargs="+",
        type=float,
        default=transcribing.LENGTHS,
        help="minutes of the recordings whose memory is measured",
    )
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--write", action="store_true", help="put the tables into BENCHMARKS.md")
    options = parser.parse_args()
    unknown = set(options.sections) - set(SECTIONS)
    if unknown:
        parser.error(
            f"there is no section {', '.join(sorted(unknown))}: name {', '.join(SECTIONS)}"
        )
    asked = shlex.join(argument for argument in sys.argv[1:] if argument != "--write")
    for name in options.sections or SECTIONS:
        content = report.section(
            SECTIONS[name](options), asked if name in options.sections else name
        )
        print(f"## {name}\n\n{content}\n", flush=True)
        if options.write:
            report.write(name, content)
    return 0


def _operations(options: argparse.Namespace) -> Iterator[str]:
    """Exact, so one round is enough."""
    measures = (
        Measure("operations", "operations", count),
        Measure("of them kernels", "kernels", count),
    )
    options = argparse.Namespace(**vars(options) | {"rounds": 1})
    jobs = (
        Job(family, scale, "operations", _prompts(options, SHORT, LONG), packed=packed)
        for family in options.families
        for scale in options.scales or ["narrow"]
        for packed in (False, True)
    )
    return _compared(jobs, measures, options)


def _host(options: argparse.Namespace) -> Iterator[str]:
    if options.engines is None:
        options = argparse.Namespace(**vars(options) | {"engines": [*OURS, *PEERS]})
    measures = (
        Measure("host, ms a token", "host", milliseconds),
        Measure("building the graph, ms", "build", milliseconds),
    )
    jobs = (
        Job(family, scale, "speed", _prompts(options, SHORT), options.tokens or 48)
        for scale in options.scales or ["narrow"]
        for family in options.families
    )
    return _compared(jobs, measures, options)


def _decode(options: argparse.Namespace) -> Iterator[str]:
    """What differs is little: each round is some turns of lockstep.py."""
    engines = options.engines or ["ours", *PEERS]
    measured = []
    for scale in options.scales or ["narrow", "small"]:
        for family in options.families:
            job = Job(family, scale, "pieces", _prompts(options, SHORT)[:1])
            measured.append((job, lockstep.decode(job, engines, options.rounds, options.folder)))
    return table(measured, (Measure("tokens a second", "decode_tps", rate),), engines)


def _prefill(options: argparse.Namespace) -> Iterator[str]:
    measures = (
        Measure("tokens a second", "prefill_tps", rate),
        Measure("peak memory, GB", "peak_memory", gigabytes),
    )
    jobs = (
        Job(family, scale, "prefill", _prompts(options, 512, 4096, 16384))
        for scale in options.scales or ["tall"]
        for family in options.families
    )
    return _compared(jobs, measures, options)


def _start(options: argparse.Namespace) -> Iterator[str]:
    return start.table(options.rounds)


def _memory(options: argparse.Namespace) -> Iterator[str]:
    """The figures hardly move, so one round is enough."""
    shapes = [
        (family, scale)
        for family in options.families
        for scale in options.scales or ["full"]
        if family in memory.FAMILIES
    ]
    return memory.section(shapes, options.engines or ["ours", *PEERS], options.folder)


def _flash(options: argparse.Namespace) -> Iterator[str]:
    """Rounds are short, and the difference looked for is small: ten for each of the others'."""
    return flash.section(10 * options.rounds, options.folder)


def _joined(options: argparse.Namespace) -> Iterator[str]:
    return joined.section(8 * options.rounds)


def _sampling(options: argparse.Namespace) -> Iterator[str]:
    return sampling.section(options.engines or ["ours", *PEERS], sampling.TURNS * options.rounds)


def _cache(options: argparse.Namespace) -> Iterator[str]:
    return kv_cache.section(options.families, options.rounds)


def _kv_bits(options: argparse.Namespace) -> Iterator[str]:
    return kv_bits.section(options.families, options.folder)


def _transcribing(options: argparse.Namespace) -> Iterator[str]:
    return transcribing.section(options.minutes, options.lengths, options.folder)


def _compared(
    jobs: Iterable[Job], measures: tuple[Measure, ...], options: argparse.Namespace
) -> Iterator[str]:
    engines = options.engines or ["ours", *PEERS]
    measured = [(job, run_job(job, engines, options.rounds, options.folder)) for job in jobs]
    return table(measured, measures, engines)


def _prompts(options: argparse.Namespace, *usual: int) -> tuple[int, ...]:
    return tuple(options.prompts or usual)


SECTIONS: dict[str, Callable[[argparse.Namespace], Iterable[str]]] = {
    "operations": _operations,
    "host": _host,
    "decode": _decode,
    "joined": _joined,
    "prefill": _prefill,
    "memory": _memory,
    "flash": _flash,
    "cache": _cache,
    "start": _start,
    "sampling": _sampling,
    "kv-bits": _kv_bits,
    "transcribing": _transcribing,
}


if __name__ == "__main__":
    sys.exit(main())
