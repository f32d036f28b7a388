"""Transcribing long recordings with the demo model: errors, speed in batches, memory.

    python -m tests.bench transcribing --minutes 30

The recordings are real spoken digits joined with known gaps (tests/speech/joined_digits.py).

Errors: the rate of wrong words with our windows, beside windows cut every 30 seconds whatever is
said there, which is what a model alone would be given, and beside each digit heard alone.

Memory: the peak of a process that transcribes a recording of so many minutes from disk; a digit
every quarter of a minute or so, for what is heard in between costs time and no memory.

The weights are the demo's in float32, which a processor multiplies faster than packed ones.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from tests.bench.processes import sample
from tests.bench.side_by_side import environment
from tests.speech.joined_digits import RATE, Joined, joined, pieces

BATCHES = (1, 4, 8)
LENGTHS = (10, 60, 600)  # minutes
GAPS = {"gaps of 0.05 to 3 s": (0.05, 3.0), "gaps of 0.12 to 0.22 s": (0.12, 0.22)}
_SPARSE = (5.0, 25.0)  # seconds of the gaps in recordings whose memory is measured
_WEIGHTS = Path(__file__).resolve().parents[2] / "notebooks/demo_model/hf"
_AROUND = 0.3  # seconds of sound on both sides of a digit that is heard alone


def section(minutes: float, lengths: Sequence[float], folder: Path) -> Iterator[str]:
    """Three tables; ``minutes`` of sound for errors and speed, ``lengths`` for memory."""
    yield "| recording | digits | our windows | every 30 s | each digit alone |"
    yield "|---|---:|---:|---:|---:|"
    for name, gaps in GAPS.items():
        figures = _child("errors", minutes, *gaps)
        rates = (figures[way] for way in ("ours", "fixed", "alone"))
        shown = " | ".join(f"{100 * rate:.2f} %" for rate in rates)
        yield f"| {minutes:g} min, {name} | {figures['digits']:,} | {shown} |"
    yield ""
    yield "| windows at once | seconds of sound a second | to one at a time | same text |"
    yield "|---:|---:|---:|---|"
    figures = _child("batches", minutes, *GAPS["gaps of 0.05 to 3 s"])
    one = figures["1"]
    for batch in BATCHES:
        figure = figures[str(batch)]
        ratio = f"{figure['speed'] / one['speed']:.2f}"
        same = "yes" if figure["text"] == one["text"] else "no"
        yield f"| {batch} | {figure['speed']:.1f} | {ratio} | {same} |"
    yield ""
    yield "| length | file, MB | peak resident, MB | peak anonymous, MB | to the shortest |"
    yield "|---:|---:|---:|---:|---:|"
    first = 0.0
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        for length in lengths:
            file = Path(scratch) / "long.wav"
            _write(file, length)
            figures = _child("memory", str(file))
            first = first or figures["anonymous"]
            yield (
                f"| {length:g} min | {file.stat().st_size / 1e6:,.0f} "
                f"| {figures['resident'] / 1e6:.0f} | {figures['anonymous'] / 1e6:.0f} "
                f"| {figures['anonymous'] / first:.2f} |"
            )


def _write(file: Path, minutes: float) -> None:
    """Digits for so long, written as they are made."""
    import soundfile

    left = round(minutes * 60 * RATE)
    with soundfile.SoundFile(file, "w", RATE, 1, subtype="PCM_16") as out:
        for _, sound, gap in pieces(1, _SPARSE):
            both = np.concatenate([sound, gap])[:left]
            out.write(both)
            left -= len(both)
            if left <= 0:
                return


def _child(*arguments: object) -> Any:
    """What a process of its own prints."""
    print("transcribing", *arguments, file=sys.stderr)
    command = [sys.executable, "-m", "tests.bench.transcribing", *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment())
    return json.loads(done.stdout)


# --- in the process ------------------------------------------------------------------------------


def _load() -> tuple[Any, Any]:
    from gemma4_mlx import load_model
    from gemma4_mlx.processing.processor import Processor

    model = load_model(_WEIGHTS, dtype="float32")
    return model, Processor.from_dir(_WEIGHTS, model.config)


def _errors(minutes: float, *gaps: float) -> dict[str, float]:
    import jiwer

    from gemma4_mlx import transcribe
    from gemma4_mlx.speech.batch_size import fitting_batch_size

    model, processor = _load()
    recording = joined(60 * minutes, (gaps[0], gaps[1]))
    ours = transcribe(model, processor, recording.samples).text
    size = fitting_batch_size(model, processor)
    ways = {"fixed": _every_thirty_seconds(recording), "alone": _each_alone(recording)}
    found = {way: _hear(model, processor, sounds, size) for way, sounds in ways.items()}
    found["ours"] = ours
    rates = {way: jiwer.wer(recording.text, text) for way, text in found.items()}
    return {"digits": len(recording.spans), **rates}


def _every_thirty_seconds(recording: Joined) -> list[np.ndarray]:
    longest = 30 * RATE
    return [
        recording.samples[begin : begin + longest]
        for begin in range(0, len(recording.samples), longest)
    ]


def _each_alone(recording: Joined) -> list[np.ndarray]:
    """Every digit with the silence around it, up to half the way to its neighbours."""
    found = []
    spans = [("", 0.0, 0.0), *recording.spans, ("", len(recording.samples) / RATE, 0.0)]
    for before, here, after in zip(spans, spans[1:], spans[2:], strict=False):
        begin = max(here[1] - _AROUND, (before[2] + here[1]) / 2)
        end = min(here[2] + _AROUND, (here[2] + after[1]) / 2)
        found.append(recording.samples[round(begin * RATE) : round(end * RATE)])
    return found


def _hear(model: Any, processor: Any, sounds: list[np.ndarray], batch_size: int) -> str:
    """Sounds as windows, whatever is in them."""
    from gemma4_mlx.speech.listening import Listener
    from gemma4_mlx.speech.prompts import speech_prompt
    from gemma4_mlx.speech.windows import Window

    listener = Listener(model, processor, speech_prompt(), batch_size=batch_size)
    windows = [Window(0, sound, 0.0, len(sound) / RATE) for sound in sounds]
    return " ".join(heard.text for heard in listener.hear(windows))


def _batches(minutes: float, *gaps: float) -> dict[str, dict[str, Any]]:
    from gemma4_mlx import transcribe

    model, processor = _load()
    recording = joined(60 * minutes, (gaps[0], gaps[1]))
    transcribe(model, processor, recording.samples[: 30 * RATE])  # weights are read, kernels made
    found = {}
    for batch in BATCHES:
        begin = time.perf_counter()
        text = transcribe(model, processor, recording.samples, batch_size=batch).text
        seconds = time.perf_counter() - begin
        found[str(batch)] = {"speed": len(recording.samples) / RATE / seconds, "text": text}
    return found


def _memory(file: str) -> dict[str, int]:
    """Peaks of this process, the anonymous one sampled at every segment."""
    from gemma4_mlx import transcribe_segments

    most = 0
    for _ in transcribe_segments(*_load(), file):
        most = max(most, sample("self").get("RssAnon", 0))
    return {"anonymous": most, "resident": sample("self").get("VmHWM", 0)}


def main() -> NoReturn:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("errors", "batches", "memory"))
    parser.add_argument("arguments", nargs="+")
    options = parser.parse_args()
    if options.what == "memory":
        found: Any = _memory(options.arguments[0])
    else:
        work = _errors if options.what == "errors" else _batches
        found = work(*map(float, options.arguments))
    print(json.dumps(found), flush=True)
    os._exit(0)  # Debian's OpenBLAS may wait for its threads for ever


if __name__ == "__main__":
    main()
