"""How far it is, how fast and how long it will take: figures of a clock that a test winds."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from gemma4_cli.transcribe import progress
from gemma4_cli.transcribe.inputs import Recording
from gemma4_cli.transcribe.progress import Progress
from gemma4_mlx.speech.options import Options

Run = Callable[..., Any]


class Shown:
    """The lines on the screen, and the clock."""

    def __init__(self) -> None:
        self.now = 50.0
        self.lines: list[tuple[str, float, float | None]] = []

    def statuses(self, lines: Iterable[tuple[str, float, float | None]]) -> None:
        self.lines = list(lines)

    @property
    def words(self) -> list[str]:
        return [message for message, _, _ in self.lines]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Shown:
    shown = Shown()
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr(progress, "status", lambda _: None)
    monkeypatch.setattr(progress, "statuses", shown.statuses)
    monkeypatch.setattr(progress.time, "monotonic", lambda: shown.now)
    return shown


def recordings(*paths: Path) -> list[Recording]:
    return [Recording(path, path.name) for path in paths]


def test_one_recording_has_one_line(shown: Shown) -> None:
    drawn = Progress(recordings(Path("memo.wav")), Options())
    drawn.opened(0, 60.0)
    assert shown.words == ["memo.wav: 0:00.0 of 1:00.0"]
    shown.now += 0.5  # too soon to tell how fast it goes
    drawn.at(10)
    assert shown.words == ["memo.wav: 0:10.0 of 1:00.0"]
    shown.now += 4.5
    drawn.at(20)
    assert shown.lines == [
        ("memo.wav: 0:20.0 of 1:00.0, 10 s left, 4.0 × real time", 20, 60),
    ]


def test_several_have_one_for_all(shown: Shown, recording: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.wav").write_text("no recording")
    files = recording("a.wav", 10), tmp_path / "bad.wav", recording("b.wav", 30)
    drawn = Progress(recordings(*files), Options())
    drawn.opened(0, 10.0)
    assert shown.words == ["a.wav: 0:00.0 of 0:10.0", "1 of 3: 0:00.0 of 0:40.0"]
    drawn.done(0, 10.0)
    drawn.done(1, 0.0)
    shown.now += 10
    drawn.opened(2, 30.0)
    drawn.at(10)
    assert shown.lines == [
        ("b.wav: 0:10.0 of 0:30.0, 10 s left, 2.0 × real time", 10, 30),
        ("3 of 3: 0:20.0 of 0:40.0, 10 s left, 2.0 × real time", 20, 40),
    ]


def test_a_part_counts_from_its_beginning(shown: Shown, recording: Run) -> None:
    files = recording("a.wav", 40), recording("b.wav", 30)
    drawn = Progress(recordings(*files), Options(start=20, end=35))
    drawn.opened(0, 15.0)
    assert shown.words[1] == "1 of 2: 0:00.0 of 0:25.0"


def test_the_command_counts_from_there_too(
    gemma4: Run, says: Run, recording: Run, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = []
    monkeypatch.setattr(Progress, "at", lambda _, seconds: at.append(seconds))
    says("one")
    gemma4("transcribe", recording(seconds=40), "--start", "22", "--end", "30", "-m", "tiny")
    assert at == [8.0]


def test_a_length_that_no_header_tells(shown: Shown) -> None:
    drawn = Progress(recordings(Path("stdin")), Options())
    drawn.opened(0, None)
    shown.now += 10
    drawn.at(20)
    assert shown.lines == [("stdin: 0:20.0, 2.0 × real time", 20, None)]


def test_a_recording_cut_off_half_way(shown: Shown, recording: Run) -> None:
    """What is left counts what is left, not what would have been."""
    drawn = Progress(recordings(recording("a.wav", 30), recording("b.wav", 30)), Options())
    drawn.opened(0, 30.0)
    drawn.at(10)
    drawn.done(0, 10.0)
    drawn.opened(1, 30.0)
    assert shown.words[1] == "2 of 2: 0:10.0 of 0:40.0"


def test_a_long_name_leaves_the_figures_on_the_screen(shown: Shown) -> None:
    drawn = Progress(recordings(Path(f"{'a' * 100}-42.wav")), Options())
    drawn.opened(0, 60.0)
    (line,) = shown.words
    assert line.startswith("aaaaaaaaa…aa-42.wav: 0:00.0") and len(line) < 50


def test_nothing_is_measured_for_nobody(recording: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_seconds", lambda *_: pytest.fail("a file was opened"))
    drawn = Progress(recordings(recording("a.wav"), recording("b.wav")), Options())
    drawn.opened(0, 1.0)
