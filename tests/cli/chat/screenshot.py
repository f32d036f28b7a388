"""The picture of the chat in README.md, drawn by ``make pictures``.

Drives the real program in a pseudo-terminal with the demo model, speaks to it through a microphone
made of software, and draws the screen that comes of it as SVG.
"""

import argparse
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.style import Style
from rich.text import Text

from tests.cli.chat.program import Program, Screen, gemma4
from tests.cli.chat.pulse import missing, software_microphone

ROOT = Path(__file__).parents[3]
DEMO = ROOT / "notebooks" / "demo_model"
COLUMNS, LINES = 92, 26


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / ".github" / "images" / "chat.svg")
    output = parser.parse_args().output
    if missing():
        raise SystemExit(f"the spoken turn needs {', '.join(missing())}")
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        shutil.copy(DEMO / "scene.png", home / "photo.png")
        shutil.copy(DEMO / "weather.py", home)
        converse(home, output)


def converse(home: Path, output: Path) -> None:
    """Hold the conversation and write the picture of it."""
    with ExitStack() as stack:
        device = stack.enter_context(software_microphone())
        talk = stack.enter_context(
            gemma4(
                *("chat", "-m", "demo", "--tool", home / "weather.py"),
                home=home,
                columns=COLUMNS,
                lines=LINES,
                cwd=home,
                screen=Dimming,
                env={**device.environment, "COLORTERM": "truecolor"},
            )
        )
        talk.wait_for("Ctrl-D leaves", "\n>")
        talk.enter("What is the weather in London?")
        talk.wait_for("run get_weather?", "[a]lways")
        talk.enter("y")
        turns(talk, 2)
        talk.enter("./photo.png What do you see?")
        turns(talk, 3)
        talk.enter("/mic")
        talk.wait_for("no sound")
        device.play(DEMO / "digits.wav")
        turns(talk, 4)
        talk.type("/s")
        talk.wait_for("/save", "/system")
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(drawn(talk.screen), encoding="utf-8")


def turns(talk: Program, count: int) -> None:
    """Until so many replies have come and the prompt stands there again."""
    talk.wait_for("tokens/s", times=count)
    while not talk.text.rstrip().endswith("\n>"):
        talk.read()


class Dimming(Screen):
    """pyte knows no dimmed text, which is half of this picture: it becomes grey."""

    def select_graphic_rendition(self, *attributes: int, **rest: object) -> None:
        super().select_graphic_rendition(*(90 if a == 2 else a for a in attributes), **rest)


def drawn(screen: Screen) -> str:
    """The screen as SVG."""
    width = screen.columns
    with open("/dev/null", "w") as nowhere:
        console = Console(record=True, width=width, file=nowhere, force_terminal=True)
        for row in range(screen.lines):
            line = Text()
            for column in range(width):
                char = screen.buffer[row][column]
                line.append(char.data, _style(char))
            console.print(line, no_wrap=True, crop=True)
        return console.export_svg(title="gemma4 chat")


def _style(char: object) -> Style:
    def colour(name: str) -> str | None:
        if name == "default":
            return None
        named = {"brown": "yellow", "brightblack": "bright_black"}
        return (
            f"#{name}"
            if len(name) == 6 and set(name) <= set("0123456789abcdef")
            else named.get(name, name)
        )

    return Style(
        color=colour(char.fg),  # type: ignore[attr-defined]
        bgcolor=colour(char.bg),  # type: ignore[attr-defined]
        bold=char.bold,  # type: ignore[attr-defined]
        italic=char.italics,  # type: ignore[attr-defined]
        underline=char.underscore,  # type: ignore[attr-defined]
        reverse=char.reverse,  # type: ignore[attr-defined]
    )


if __name__ == "__main__":
    main()
