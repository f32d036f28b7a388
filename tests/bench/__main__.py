"""Everything that is compared with mlx-lm and mlx-vlm: ``python -m tests.bench [SECTION…]``.

    python -m tests.bench                                # operations, decode, prefill, start
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
from tests.bench import conversion, report, start
from tests.bench.checkpoints import SCALES
from tests.bench.engines import ENGINES
from tests.bench.side_by_side import (
    Job,
    Measure,
    count,
    milliseconds,
    rate,
    run_job,
    table,
)

# A prompt shorter than the window of a local layer, and one longer than it.
SHORT, LONG = 32, 1100


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
    parser.add_argument("--tokens", type=int, default=64, help="to decode after each prompt")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--rounds", type=int, default=3)
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
    options.rounds = 1
    jobs = (
        Job(family, scale, "operations", _prompts(options, SHORT, LONG), packed=packed)
        for family in options.families
        for scale in options.scales or ["narrow"]
        for packed in (False, True)
    )
    return _compared(jobs, measures, options)


def _decode(options: argparse.Namespace) -> Iterator[str]:
    measures = (
        Measure("host, ms a token", "host", milliseconds),
        Measure("building the graph, ms", "build", milliseconds),
        Measure("tokens a second", "decode_tps", rate),
    )
    jobs = (
        Job(family, scale, "speed", _prompts(options, SHORT, LONG), options.tokens)
        for scale in options.scales or ["narrow", "small"]
        for family in options.families
    )
    return _compared(jobs, measures, options)


def _prefill(options: argparse.Namespace) -> Iterator[str]:
    jobs = (
        Job(family, scale, "speed", _prompts(options, 512, 4096), tokens=2)
        for scale in options.scales or ["narrow", "small"]
        for family in options.families
    )
    return _compared(jobs, (Measure("tokens a second", "prefill_tps", rate),), options)


def _start(options: argparse.Namespace) -> Iterator[str]:
    return start.table(options.rounds)


def _compared(
    jobs: Iterable[Job], measures: tuple[Measure, ...], options: argparse.Namespace
) -> Iterator[str]:
    measured = [
        (job, run_job(job, options.engines, options.rounds, options.folder)) for job in jobs
    ]
    return table(measured, measures, options.engines)


def _prompts(options: argparse.Namespace, *usual: int) -> tuple[int, ...]:
    return tuple(options.prompts or usual)


SECTIONS: dict[str, Callable[[argparse.Namespace], Iterable[str]]] = {
    "operations": _operations,
    "decode": _decode,
    "prefill": _prefill,
    "start": _start,
}


if __name__ == "__main__":
    sys.exit(main())
