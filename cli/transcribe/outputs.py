"""Where transcripts go: stdout, or a file for each recording and format.

All that can be known to go wrong with a file is said before the model works for hours.
"""

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from gemma4_cli.files import refuse_to_overwrite, write_whole
from gemma4_cli.transcribe.formats import Format, written
from gemma4_cli.transcribe.inputs import Recording
from gemma4_cli.transcribe.template import DEFAULT, apart, check_template, filled
from gemma4_mlx.errors import InputError

if TYPE_CHECKING:
    from gemma4_mlx.speech.transcript import Transcript

_LONGEST_NAME = 255  # bytes, in the file systems of Macs and Linux


@dataclass
class Outputs:
    """How transcripts are written; without ``folder`` and ``template`` they go to stdout.

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
        if not self.in_files:
            if self.format is Format.ALL:
                raise typer.BadParameter("--format all writes several files: give --output-dir")
            if self.resume:
                raise typer.BadParameter("--resume looks for files: give --output-dir")
        if self.resume and self.force:
            raise typer.BadParameter("--force writes again what --resume leaves out: give one")
        if self.max_line_count is not None and self.max_line_width is None:
            raise typer.BadParameter("--max-line-count needs --max-line-width")
        if self.max_line_width is not None and not self.format.has_lines:
            raise typer.BadParameter(
                f"--max-line-width is for subtitles, not for {self.format}: give --format srt, "
                "vtt or all"
            )
        check_template(self.template or DEFAULT, self.format, within=self.folder is not None)

    @property
    def in_files(self) -> bool:
        """Whether files are written; else stdout is."""
        return self.folder is not None or self.template is not None

    @property
    def is_running_text(self) -> bool:
        """Whether stdout gets the text while it grows."""
        return not self.in_files and self.format is Format.TXT

    def plan(self, recordings: list[Recording]) -> None:
        """Decide on a file for each.

        Raises InputError when two would be written to one, a transcript over a recording, or where
        nothing can be; BadParameter for several recordings in a format of which stdout holds one.
        """
        if not self.in_files:
            if len(recordings) > 1 and self.format not in (Format.TXT, Format.JSON):
                raise typer.BadParameter(
                    f"{self.format} of several recordings needs --output-dir: on stdout their "
                    "times would follow each other"
                )
            return
        taken: dict[str, Recording] = {}
        sources = {_file(recording.path) for recording in recordings}
        for index, recording in enumerate(recordings, start=1):
            for form in self.format.each:
                name = filled(self.template or DEFAULT, recording, form, index)
                target = (self.folder or Path()) / name
                if _file(target) in sources:
                    raise InputError(f"{target} is a recording: --output-template needs .{{ext}}")
                other = taken.setdefault(_file(target), recording)
                if other is not recording:
                    raise InputError(
                        f"{other.path} and {recording.path} would both be written to {target}: "
                        f"give --output-template '{apart(other, recording)}'"
                    )
                self._targets.setdefault(recording.path, {})[form] = target
        _refuse_unwritable({t.parent for each in self._targets.values() for t in each.values()})

    def are_there(self, recording: Recording) -> bool:
        """Whether every file of a recording exists already."""
        targets = self._targets.get(recording.path, {})
        return bool(targets) and all(map(os.path.isfile, targets.values()))

    def refuse_to_overwrite(self, recording: Recording) -> None:
        """InputError when a file of the recording exists and nobody said to write over it."""
        for target in self._targets.get(recording.path, {}).values():
            if len(os.fsencode(target.name)) > _LONGEST_NAME:
                raise InputError(f"{target} is too long a name: give a shorter --output-template")
            if target.is_dir():
                raise InputError(f"{target} is a folder: a transcript cannot be written there")
            refuse_to_overwrite(target, self.force or self.resume)

    def write(self, recording: Recording, transcript: "Transcript") -> list[Path]:
        """Write the files of a recording, each whole; none when stdout is meant."""
        targets = self._targets.get(recording.path, {})
        for form, target in targets.items():
            write_whole(target, self.text(recording, transcript, form))
        return list(targets.values())

    def text(self, recording: Recording, transcript: "Transcript", form: Format) -> str:
        """A transcript as it is written."""
        limits = self.max_line_width, self.max_line_count
        return written(transcript, form, recording.text, *limits)


def _file(path: Path) -> str:
    """What tells a file from others; Macs take names in large and small letters for the same."""
    found = str(path.resolve())
    return found.casefold() if sys.platform == "darwin" else found


def _refuse_unwritable(folders: Iterable[Path]) -> None:
    """InputError for a folder in which no file can be made. Nothing is made to find out."""
    for folder in folders:
        there = folder
        while not os.path.lexists(there):
            there = there.parent
        if not there.is_dir():
            raise InputError(f"{folder} cannot be a folder for transcripts: {there} is a file")
        if not os.access(there, os.W_OK | os.X_OK):
            raise InputError(
                f"{folder} cannot be written to: choose another --output-dir, or change the "
                f"permissions of {there}"
            )
