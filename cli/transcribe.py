"""``gemma4 transcribe FILE…``: what is said in each recording, printed or written beside others."""

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gemma4_cli import options
from gemma4_cli.console import complain, notice, notices, say, status
from gemma4_cli.files import plan_outputs, refuse_to_overwrite, write_whole
from gemma4_cli.models import open_model
from gemma4_mlx.errors import Gemma4Error, MediaError

if TYPE_CHECKING:
    from gemma4_mlx.model import Gemma4Model
    from gemma4_mlx.processing.processor import Processor
    from gemma4_mlx.speech.transcribe import Transcript


class Format(StrEnum):
    """How a transcript is written."""

    TXT = "txt"
    JSON = "json"


def transcribe(
    files: Annotated[
        list[Path], typer.Argument(help="Recordings.", metavar="FILE...", readable=False)
    ],
    model: options.Model = None,
    language: Annotated[
        str | None,
        typer.Option("--language", "-l", help="What is spoken, as German or de. Else it is heard."),
    ] = None,
    translate_to: Annotated[
        str | None, typer.Option("--translate-to", help="Translate into this language.")
    ] = None,
    output_format: Annotated[
        Format, typer.Option("--format", "-f", help="How to write a transcript.")
    ] = Format.TXT,
    output_dir: Annotated[
        Path | None,
        typer.Option("--output-dir", "-o", help="Write one file for each into this folder."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over existing files.")] = False,
    ple: options.Ple = "auto",
) -> None:
    """Transcribe recordings of any length. The text alone goes to stdout."""
    from gemma4_mlx.speech.languages import language_name

    for given in (language, translate_to):
        if given is not None:
            language_name(given)  # an unknown one is an error before anything is loaded
    targets = plan_outputs(files, output_dir, f".{output_format}") if output_dir else {}

    failed: list[Path] = []
    ready: list[Path] = []
    for file in files:
        try:
            _check(file)
            if file in targets:
                refuse_to_overwrite(targets[file], force)
            ready.append(file)
        except Gemma4Error as error:
            complain(str(error))
            failed.append(file)

    if ready:
        from gemma4_mlx.speech.transcribe import require_audio

        _, gemma, processor = open_model(model, ple, ["audio"])
        require_audio(gemma)
    for file in ready:
        try:
            transcript = _transcribe(gemma, processor, file, language, translate_to)
            notices(transcript.warnings, str(file))
            text = _written(transcript, file, output_format, translate_to)
            if file in targets:
                write_whole(targets[file], text)
                notice(f"{file}: written to {targets[file]}")
            else:
                header = len(files) > 1 and output_format is Format.TXT
                say(f"== {file}\n{text}" if header else text)
        except (Gemma4Error, OSError) as error:
            message = str(error)
            complain(message if str(file) in message else f"{file}: {message}")
            failed.append(file)

    if failed and len(files) > 1:
        complain(f"{len(failed)} of {len(files)} files failed: {', '.join(map(str, failed))}")
    if failed:
        raise typer.Exit(1)


def _check(file: Path) -> None:
    if not file.exists():
        raise MediaError(f"{file} does not exist: check the path of the recording")
    if not file.is_file():
        raise MediaError(f"{file} is not a file, expected a recording")


def _transcribe(
    model: "Gemma4Model",
    processor: "Processor",
    file: Path,
    language: str | None,
    translate_to: str | None,
) -> "Transcript":
    from gemma4_mlx.speech.clock import clock
    from gemma4_mlx.speech.transcribe import Segment
    from gemma4_mlx.speech.transcribe import transcribe as transcribe_recording

    def heard(segment: Segment, seconds: float) -> None:
        place = f"{clock(segment.end)} of {clock(seconds)}"
        status(f"{file.name}: {place}", segment.end, seconds)

    status(f"{file.name}: listening")
    return transcribe_recording(
        model,
        processor,
        str(file),
        language,
        translate_to,
        on_segment=heard,
    )


def _written(
    transcript: "Transcript", file: Path, output_format: Format, translate_to: str | None
) -> str:
    if output_format is Format.TXT:
        return transcript.text + "\n"
    from gemma4_mlx.speech.languages import language_name

    segments: list[dict[str, Any]] = [
        {"start": round(piece.start, 3), "end": round(piece.end, 3), "text": piece.text}
        | ({} if piece.source is None else {"source": piece.source})
        for piece in transcript.segments
    ]
    document = {
        "file": str(file),
        "language": transcript.language,
        "translate_to": language_name(translate_to) if translate_to is not None else None,
        "text": transcript.text,
        "segments": segments,
        "warnings": transcript.warnings,
    }
    # One line a file on stdout can be read as JSON Lines when there are several.
    return json.dumps(document, ensure_ascii=False) + "\n"
