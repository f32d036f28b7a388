"""Where transcripts go: stdout, or a file for each recording and format."""

import string
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from gemma4_cli.files import refuse_to_overwrite, write_whole
from gemma4_cli.transcribe.formats import Format, written
from gemma4_cli.transcribe.inputs import Recording
from gemma4_mlx.errors import InputError

if TYPE_CHECKING:
    from gemma4_mlx.speech.transcript import Transcript

_TEMPLATE = "{folder}/{stem}.{ext}"
_FIELDS = ("folder", "stem", "name", "index", "date", "ext")


@dataclass
class Outputs:
    """How transcripts are written; ``folder`` None is stdout.

    Raises BadParameter, when made, for settings that contradict each other.
    """

    format: Format
    folder: Path | None
    template: str | None = None
    force: bool = False
    resume: bool = False
    max_line_width: int | None = None
    max_line_count: int | None = None
    _targets: dict[Path, dict[Format, Path]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.folder is None:
            if self.format is Format.ALL:
                raise typer.BadParameter("--format all writes several files: give --output-dir")
            if self.resume:
                raise typer.BadParameter("--resume looks for files: give --output-dir")
        if self.max_line_count is not None and self.max_line_width is None:
            raise typer.BadParameter("--max-line-count needs --max-line-width")
        _check_template(self.template or _TEMPLATE, self.format)

    def plan(self, recordings: list[Recording]) -> None:
        """Decide on a file for each. InputError when two would be written to one.

        Raises BadParameter for several recordings in a format of which stdout holds only one.
        """
        if self.folder is None:
            if len(recordings) > 1 and self.format not in (Format.TXT, Format.JSON):
                raise typer.BadParameter(
                    f"{self.format} of several recordings needs --output-dir: on stdout their "
                    "times would follow each other"
                )
            return
        taken: dict[Path, Recording] = {}
        for index, recording in enumerate(recordings, start=1):
            for form in self.format.each:
                target = self.folder / _filled(self.template or _TEMPLATE, recording, form, index)
                other = taken.setdefault(target, recording)
                if other is not recording:
                    raise InputError(
                        f"{other.path} and {recording.path} would both be written to {target}: "
                        "rename one of them, or give --output-template '{folder}/{name}.{ext}'"
                    )
                self._targets.setdefault(recording.path, {})[form] = target

    def are_there(self, recording: Recording) -> bool:
        """Whether every file of a recording exists already."""
        targets = self._targets.get(recording.path, {})
        return bool(targets) and all(target.exists() for target in targets.values())

    def refuse_to_overwrite(self, recording: Recording) -> None:
        """InputError when a file of the recording exists and nobody said to write over it."""
        for target in self._targets.get(recording.path, {}).values():
            refuse_to_overwrite(target, self.force or self.resume)

    def write(self, recording: Recording, transcript: "Transcript") -> list[Path]:
        """Write the files of a recording, each whole; none when stdout is meant."""
        targets = self._targets.get(recording.path, {})
        for form, target in targets.items():
            write_whole(target, self.text(recording, transcript, form))
        return list(targets.values())

    def text(self, recording: Recording, transcript: "Transcript", form: Format) -> str:
        """A transcript as it is written."""
        # What was piped in has no path that anybody would know it by.
        name = recording.name if recording.name == "stdin" else str(recording.path)
        return written(transcript, form, name, self.max_line_width, self.max_line_count)


def _check_template(template: str, form: Format) -> None:
    try:
        parsed = list(string.Formatter().parse(template))
    except ValueError as error:
        raise typer.BadParameter(f"--output-template {template!r}: {error}") from None
    names = [name for _, name, _, _ in parsed if name is not None]
    unknown = [name for name in names if name not in _FIELDS]
    if unknown:
        raise typer.BadParameter(
            f"--output-template has no {{{unknown[0]}}}; it knows "
            + ", ".join(f"{{{name}}}" for name in _FIELDS)
        )
    if any(spec or conversion for _, name, spec, conversion in parsed if name is not None):
        raise typer.BadParameter("--output-template takes plain {names}, without : or !")
    if len(form.each) > 1 and "ext" not in names:
        raise typer.BadParameter(f"--output-template needs {{ext}} with --format {form}")


def _filled(template: str, recording: Recording, form: Format, index: int) -> str:
    values = {
        "folder": recording.folder.as_posix(),
        "stem": recording.stem,
        "name": recording.name,
        "index": index,
        "date": date.today().isoformat(),
        "ext": form.value,
    }
    return template.format(**values)
