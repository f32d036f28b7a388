"""Working through recordings: text as it comes, files when they are whole, failures at the end."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from gemma4_cli import options
from gemma4_cli.console import complain, notice, notices, say, status
from gemma4_cli.models import open_model
from gemma4_cli.transcribe.formats import Format
from gemma4_cli.transcribe.inputs import Found, Recording
from gemma4_cli.transcribe.outputs import Outputs
from gemma4_cli.transcribe.progress import Progress
from gemma4_cli.transcribe.text import RunningText
from gemma4_mlx.errors import Gemma4Error
from gemma4_mlx.speech.clock import clock

if TYPE_CHECKING:
    from gemma4_mlx.model import Gemma4Model
    from gemma4_mlx.processing.processor import Processor
    from gemma4_mlx.speech.events import Event
    from gemma4_mlx.speech.options import Options
    from gemma4_mlx.speech.recordings import Sound


def run(
    found: Found, asked: "Options", outputs: Outputs, model: str | None, ple: options.PlePlacement
) -> int:
    """Transcribe what was found; the exit status, 1 when something failed."""
    outputs.plan(found.recordings)
    failed, waiting = list(found.missing), []
    for recording in found.recordings:
        if outputs.resume and outputs.are_there(recording):
            continue
        try:
            outputs.refuse_to_overwrite(recording)
            waiting.append(recording)
        except Gemma4Error as error:
            complain(str(error))
            failed.append(str(recording.path))
    if skipped := len(found.recordings) - len(waiting) - (len(failed) - len(found.missing)):
        notice(f"left out, for their transcripts are there: {skipped}")

    if waiting:
        gemma, processor = load_hearing(model, ple)
        failed += Work(waiting, outputs, len(found.recordings) > 1).do(gemma, processor, asked)
    total = len(found.recordings) + len(found.missing)
    if failed and total > 1:
        complain(f"{len(failed)} of {total} files failed: {', '.join(failed)}")
    return 1 if failed else 0


def load_hearing(
    model: str | None, ple: options.PlePlacement
) -> "tuple[Gemma4Model, Processor]":
    """The model, which must be one that hears."""
    from gemma4_mlx.speech.recordings import require_audio

    _, gemma, processor = open_model(model, ple, ["audio"])
    require_audio(gemma)
    return gemma, processor


class Work:
    """Recordings on their way to transcripts."""

    def __init__(self, recordings: list[Recording], outputs: Outputs, several: bool):
        self._recordings, self._outputs, self._several = recordings, outputs, several
        self._progress = Progress(recordings)
        self._text: RunningText | None = None
        self._at: tuple[int, float] = (0, 0.0)  # the recording at hand, and how far it is
        self._failed: list[str] = []

    def do(
        self,
        model: "Gemma4Model",
        processor: "Processor",
        asked: "Options",
        sounds: "Sequence[Sound] | None" = None,
    ) -> list[str]:
        """Work through all; those that failed. ``sounds`` None: those at the recordings' paths."""
        from gemma4_mlx.speech.recordings import transcribe_all

        status("listening")
        sources = sounds or [str(recording.path) for recording in self._recordings]
        try:
            self._follow(transcribe_all(model, processor, sources, asked))
        except KeyboardInterrupt:
            self._say_where()
            raise
        return self._failed

    def _follow(self, events: "Iterable[Event]") -> None:
        from gemma4_mlx.speech.events import Failed, Finished, Opened, Said

        for event in events:
            recording = self._recordings[event.number]
            if isinstance(event, Opened):
                self._at = event.number, 0.0
                self._begin(recording)
                self._progress.opened(event.number, event.seconds)
            elif isinstance(event, Said):
                self._at = event.number, event.segment.end
                if self._text is not None:
                    self._text.add(event.segment.written)
                self._progress.at(event.segment.end)
            elif isinstance(event, Failed):
                self._end_text()
                self._fail(recording, event.error)
            elif isinstance(event, Finished):
                self._end_text()
                self._progress.done(event.transcript.seconds or 0.0)
                try:
                    self._finish(recording, event)
                except OSError as error:
                    self._fail(recording, error)

    def _begin(self, recording: Recording) -> None:
        outputs = self._outputs
        if outputs.folder is None and outputs.format is Format.TXT:
            if self._several:
                say(f"== {recording.path}\n")
            self._text = RunningText()

    def _end_text(self) -> None:
        if self._text is not None:
            self._text.end()
            self._text = None

    def _finish(self, recording: Recording, event: "Event") -> None:
        transcript, outputs = event.transcript, self._outputs  # type: ignore[union-attr]
        notices(transcript.warnings, str(recording.path))
        for target in outputs.write(recording, transcript):
            notice(f"{recording.path}: written to {target}")
        if outputs.folder is None and outputs.format is not Format.TXT:
            say(outputs.text(recording, transcript, outputs.format))
        if not transcript.is_complete:
            self._failed.append(str(recording.path))

    def _fail(self, recording: Recording, error: Exception) -> None:
        self._failed.append(str(recording.path))
        message, path = str(error), str(recording.path)
        complain(message if path in message else f"{path}: {message}")

    def _say_where(self) -> None:
        """After Ctrl-C: what is done is whole, what is not is not there."""
        self._end_text()
        number, seconds = self._at
        place = f"stopped at {clock(seconds)} of {self._recordings[number].path}"
        if self._outputs.folder is not None:
            done = f"{number} of {len(self._recordings)}"
            place += f"; {done} are done, and --resume goes on with the rest"
        complain(place)
