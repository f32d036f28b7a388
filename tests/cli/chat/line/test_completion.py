"""What Tab offers."""

from pathlib import Path

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from gemma4_cli.chat.line.completion import ChatCompleter
from gemma4_cli.chat.media.dropped import read_paths, take_files

WORDS = {
    "/image PATH": "a picture",
    "/audio PATH": "a recording",
    "/load FILE": "go on",
    "/think on|off|show|hide": "thoughts",
    "/set NAME VALUE": "settings",
    "/clear": "forget",
    "/exit": "leave",
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("my cat (1).png", "memo.wav", "notes.json", ".hidden.png", "photos/Größe.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def offered(line: str) -> list[str]:
    """The line as each completion leaves it."""
    found = ChatCompleter(lambda: WORDS).get_completions(Document(line), CompleteEvent())
    return [line[: len(line) + c.start_position] + c.text for c in found]


def test_commands() -> None:
    assert offered("/") == [
        *("/image ", "/audio ", "/load ", "/think ", "/set ", "/clear", "/exit")
    ]
    assert offered("/CL") == ["/clear"]
    assert offered("/think o") == ["/think on", "/think off"]
    assert offered("/set to") == ["/set top_p ", "/set top_k "]
    assert offered("/set top_p 0") == []
    assert offered("/clear ") == offered("/nothing") == offered("text") == []
    completer = ChatCompleter(lambda: WORDS)
    [image] = completer.get_completions(Document("/im"), CompleteEvent())
    assert (image.display_text, image.display_meta_text) == ("/image PATH", "a picture")


def test_files_of_the_kind_that_a_command_takes() -> None:
    assert offered("/image ") == ["/image my\\ cat\\ \\(1\\).png", "/image photos/"]
    assert offered("/audio ") == ["/audio memo.wav", "/audio photos/"]
    assert offered("/load no") == ["/load notes.json"]
    assert offered("/image .h") == ["/image .hidden.png"]
    assert offered("/image photos/") == ["/image photos/Größe.jpg"]
    assert offered("/image nowhere/") == offered("/image nul\0/") == []


def test_a_path_goes_on_as_it_was_begun(folder: Path) -> None:
    assert offered("/image my\\ c") == ["/image my\\ cat\\ \\(1\\).png"]
    assert offered("/image 'my c") == ["/image 'my cat (1).png'"]
    assert offered('see "./my') == ['see "./my cat (1).png"']
    assert offered("see ./my\\ ") == ["see ./my\\ cat\\ \\(1\\).png"]
    assert offered("see ~/pho") == ["see ~/photos/"]
    assert offered("don't see photos/") == ["don't see photos/Größe.jpg"]
    assert offered(f"{folder}/mem") == [f"{folder}/memo.wav"]
    assert offered("two\nlines ./mem") == ["two\nlines ./memo.wav"]


def test_what_is_completed_is_understood(folder: Path) -> None:
    [line] = offered("see ./my")
    assert take_files(line) == ("see", [str(folder / "my cat (1).png")])
    [line] = offered("/image my")
    assert read_paths(line.partition(" ")[2]) == ["my cat (1).png"]


def test_names_that_would_break_the_line_are_left_out(folder: Path) -> None:
    (folder / "odd\x1b[2J\n.wav").touch()
    assert offered("/audio ") == ["/audio memo.wav", "/audio photos/"]
