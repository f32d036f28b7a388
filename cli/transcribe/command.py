"""What ``gemma4 transcribe`` takes, and what is refused before a model is loaded."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from gemma4_cli import options
from gemma4_cli.transcribe.formats import Format
from gemma4_cli.transcribe.times import seconds


def transcribe(
    files: Annotated[
        list[str] | None,
        typer.Argument(help="Recordings, folders, or - for stdin.", metavar="FILE|DIR|-..."),
    ] = None,
    mic: Annotated[
        bool, typer.Option("--mic", help="Transcribe what is said here, until Ctrl-C.")
    ] = False,
    model: options.Model = None,
    language: Annotated[
        str | None,
        typer.Option("--language", "-l", help="What is spoken, as German or de. Else it is heard."),
    ] = None,
    translate_to: Annotated[
        str | None, typer.Option("--translate-to", help="Translate into this language.")
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option("--prompt", help="Names and terms that may occur, in their spelling."),
    ] = None,
    output_format: Annotated[
        Format, typer.Option("--format", "-f", help="How to write a transcript.")
    ] = Format.TXT,
    output_dir: Annotated[
        Path | None,
        typer.Option("--output-dir", "-o", help="Write one file for each into this folder."),
    ] = None,
    output_template: Annotated[
        str | None,
        typer.Option(
            "--output-template",
            help="Name of a file written: {folder} of the recording within its DIR, {stem}, "
            "{name}, {index}, {date}, {ext}. [default: {folder}/{stem}.{ext}]",
            show_default=False,
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over existing files.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Leave out recordings that have their files already.")
    ] = False,
    max_line_width: Annotated[
        int | None,
        typer.Option("--max-line-width", min=4, help="Columns of a line of subtitles, at most."),
    ] = None,
    max_line_count: Annotated[
        int | None,
        typer.Option("--max-line-count", min=1, help="Lines of a subtitle, at most."),
    ] = None,
    start: Annotated[
        float,
        typer.Option(
            "--start",
            parser=seconds,
            metavar="TIME",
            help="From here on: 90 or 1:30.",
            show_default=False,
        ),
    ] = 0.0,
    end: Annotated[
        float | None,
        typer.Option(
            "--end", parser=seconds, metavar="TIME", help="Up to here.", show_default=False
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            "--batch-size", min=1, help="Windows heard at once. Else as many as fit, up to 8."
        ),
    ] = None,
    window: Annotated[
        float | None,
        typer.Option(
            "--window", min=1.0, help="Longest piece heard as one, in seconds. [default: 30]"
        ),
    ] = None,
    vad: Annotated[
        bool,
        typer.Option("--vad/--no-vad", help="Hear speech alone, or music and silence too."),
    ] = True,
    ple: options.Ple = "auto",
) -> None:
    """Transcribe recordings of any length: files, folders of them, or - for what is piped in.

    The text goes to stdout, or with --output-dir into a file for each recording. Times are those of
    segments: they begin and end at pauses between words; single words have none. Where
    --max-line-count cuts a segment into several subtitles, the times within it are estimated by the
    length of the text.
    """
    from gemma4_cli.transcribe.inputs import find_recordings
    from gemma4_cli.transcribe.outputs import Outputs
    from gemma4_cli.transcribe.running import run
    from gemma4_mlx.speech.options import Options

    if bool(files) == mic:
        raise typer.BadParameter(
            "give recordings or --mic, not both" if mic else "give a recording, a folder, or --mic"
        )
    if "-" in (files or []) and (sys.stdin is None or sys.stdin.isatty()):
        raise typer.BadParameter("- is what is piped in, and nothing is")
    if mic and (start or end is not None or batch_size is not None or resume):
        raise typer.BadParameter(
            "--start, --end, --batch-size and --resume are for recordings, not for --mic"
        )
    if end is not None and end <= start:
        raise typer.BadParameter(f"--end ({end:g} s) is not after --start ({start:g} s)")
    outputs = Outputs(
        output_format,
        folder=output_dir,
        template=output_template,
        force=force,
        resume=resume,
        max_line_width=max_line_width,
        max_line_count=max_line_count,
    )
    asked = Options(
        language=language,
        translate_to=translate_to,
        prompt=prompt,
        start=start,
        end=end,
        batch_size=batch_size,
        window=window,
        vad=vad,
    )
    if mic:
        from gemma4_cli.transcribe.live import listen

        raise typer.Exit(listen(asked, outputs, model, ple))
    with find_recordings(files or []) as found:
        raise typer.Exit(run(found, asked, outputs, model, ple))
