"""Working through recordings: text as it comes, files when they are whole, failures at the end."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from gemma4_cli import options
from gemma4_cli.console import complain, notice, notices, plain, say, status
from gemma4_cli.models import DEMO, open_model
from gemma4_cli.transcribe.inputs import Found, Recording, of_file, shown
from gemma4_cli.transcribe.outputs import Outputs
from gemma4_cli.transcribe.progress import Progress
from gemma4_cli.transcribe.text import PassingText, RunningText
from gemma4_mlx.errors import Gemma4Error
from gemma4_mlx.speech.clock import clock

if TYPE_CHECKING:
    from gemma4_mlx.model import Gemma4Model
    from gemma4_mlx.processing.processor import Processor
    from gemma4_mlx.speech.events import Event
    from gemma4_mlx.speech.options import Options
    from gemma4_mlx.speech.recordings import Sound
    from gemma4_mlx.speech.transcript import Transcript

_DEMO_KNOWS = (None, "English")  # the languages that the demo model was trained to be asked for


def run(
    found: Found, asked: "Options", outputs: Outputs, model: str | None, ple: options.PlePlacement
) -> int:
    """Transcribe what was found; the exit status, 1 when something failed or is incomplete."""
    outputs.plan(found.recordings)
    work = Work(outputs, asked, headers=found.total > 1)
    work.failed += found.missing
    waiting, there = [], 0
    for recording in found.recordings:
        if outputs.resume and outputs.are_there(recording):
            there += 1
            continue
        try:
            outputs.refuse_to_overwrite(recording)
            waiting.append(recording)
        except Gemma4Error as error:
            work.fail(recording, error)
    if there:
        notice(f"left out, for their transcripts are there: {there}")
    if waiting:
        work.do(waiting, *load_hearing(model, ple, asked))
    work.sum_up(found.total)
    return work.status


def load_hearing(
    model: str | None, ple: options.PlePlacement, asked: "Options"
) -> "tuple[Gemma4Model, Processor]":
    """The model, which must be one that hears."""
    from gemma4_mlx.speech.recordings import require_audio

    name, gemma, processor = open_model(model, ple, ["audio"])
    require_audio(gemma)
    if name == DEMO and (asked.prompt or asked.translate_to or asked.language not in _DEMO_KNOWS):
        notice(
            "the demo model writes English digits down and knows no other instruction: what comes "
            "of --prompt, --language and --translate-to is no use"
        )
    return gemma, processor


class Work:
    """Recordings on their way to transcripts, and what became of them."""

    def __init__(self, outputs: Outputs, asked: "Options", headers: bool = False):
        self._outputs, self._asked, self._headers = outputs, asked, headers
        self._recordings: Sequence[Recording] = []
        self._progress: Progress | None = None
        self._text: RunningText | PassingText | None = None
        self._at: tuple[int, float] = (0, 0.0)  # the recording at hand, and how far it is
        self.written = 0
        self.failed: list[str] = []
        self.incomplete: list[str] = []

    @property
    def status(self) -> int:
        """The exit status."""
        return 1 if self.failed or self.incomplete else 0

    def do(
        self,
        recordings: Sequence[Recording],
        model: "Gemma4Model",
        processor: "Processor",
        live: "Sound | None" = None,
    ) -> None:
        """Work through all; ``live`` is sound that no recording holds yet."""
        from gemma4_mlx.speech.recordings import transcribe_all

        self._recordings = recordings
        if live is None:
            self._progress = Progress(recordings, self._asked)
            status("listening")
        sources = [str(recording.path) for recording in recordings] if live is None else [live]
        try:
            self._follow(transcribe_all(model, processor, sources, self._asked))
        except KeyboardInterrupt:
            self._say_where(resumable=live is None and self._outputs.in_files)
            raise

    def fail(self, recording: Recording, error: Exception) -> None:
        """Tell of a recording that came to nothing."""
        self.failed.append(recording.shown)
        complain(of_file(error, str(recording.path)))

    def sum_up(self, total: int) -> None:
        """What there is to do again, of so many."""
        for names, what in ((self.incomplete, "incomplete"), (self.failed, "failed")):
            if names and total > 1:
                complain(f"{len(names)} of {total} files {what}: {', '.join(names)}")

    def _follow(self, events: "Iterable[Event]") -> None:
        from gemma4_mlx.speech.events import Failed, Opened, Said

        for event in events:
            number, recording = event.number, self._recordings[event.number]
            if isinstance(event, Opened):
                self._at = number, self._asked.start
                self._begin(recording)
                if self._progress is not None:
                    self._progress.opened(number, event.seconds)
            elif isinstance(event, Said):
                self._at = number, event.segment.end
                if self._text is not None:
                    self._text.add(event.segment.written)
                if self._progress is not None:
                    self._progress.at(event.segment.end - self._asked.start)
            else:
                self._end_text()
                if isinstance(event, Failed):
                    self._progressed(number, self._at[1] - self._asked.start)
                    self.fail(recording, event.error)
                else:
                    self._progressed(number, event.transcript.seconds or 0.0)
                    self._finish(recording, event.transcript)

    def _progressed(self, number: int, seconds: float) -> None:
        if self._progress is not None:
            self._progress.done(number, seconds if self._at[0] == number else 0.0)

    def _begin(self, recording: Recording) -> None:
        if not self._outputs.is_running_text:
            self._text = PassingText()
            return
        if self._headers:
            say(f"== {recording.shown}\n")
        self._text = RunningText()

    def _end_text(self) -> None:
        if self._text is not None:
            self._text.end()
            self._text = None

    def _finish(self, recording: Recording, transcript: "Transcript") -> None:
        notices(map(plain, transcript.warnings), recording.shown)
        try:
            for target in self._outputs.write(recording, transcript):
                notice(f"{recording.shown}: written to {shown(target)}")
        except OSError as error:
            self.fail(recording, error)
            return
        self.written += 1
        if not (self._outputs.in_files or self._outputs.is_running_text):
            say(self._outputs.text(recording, transcript, self._outputs.format))
        passages = sum(segment.incomplete for segment in transcript.segments)
        if passages:
            self.incomplete.append(recording.shown)
            notice(
                f"{recording.shown}: passages that the model could not finish, marked as "
                f"incomplete: {passages} of {len(transcript.segments)}"
            )

    def _say_where(self, resumable: bool) -> None:
        """After Ctrl-C: what is done is whole, what is not is not there."""
        self._end_text()
        number, seconds = self._at
        place = f"stopped at {clock(seconds)} of {self._recordings[number].shown}"
        if resumable:
            done = f"{self.written} of {len(self._recordings)}"
            place += f"; {done} files written, --resume goes on with the rest"
        complain(place)
