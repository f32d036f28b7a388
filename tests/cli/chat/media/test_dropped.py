"""Files and links in a line, as terminals write them."""

import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from gemma4_cli.chat.media.dropped import kind_of_name, read_paths, take_files
from gemma4_mlx.errors import MediaError

Make = Callable[[str], str]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Makes a file in the folder where the program runs; its absolute path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))

    def make(name: str) -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
        return str(path)

    return make


def escaped(path: str) -> str:
    return "".join(f"\\{c}" if c in " ()[]'\"&;!$`\\#*?|<>{}" else c for c in path)


NAMES = [
    "cat.png",
    "my holiday (2).JPG",
    'it\'s a "cat" & more; $1 `x`!.png',
    unicodedata.normalize("NFD", "Café Übung/naïve – été.heic"),
    "Screenshot 2026-05-01 at 10.15.32\u202fAM.png",
    "名前 🐈.webp",
    "back\\slash.png",
    "memo.m4a",
    "clip.MOV",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_dropped_file_as_terminals_write_it(file: Make, name: str) -> None:
    path = file(name)
    assert take_files(escaped(path) + " ") == ("", [path])
    assert take_files(f"{escaped(path)} what is it?") == ("what is it?", [path])
    assert take_files(f"What is it? {escaped(path)}") == ("What is it?", [path])
    assert take_files(f"'{path}'".replace("it's", "it'\\''s")) == ("", [path])
    assert take_files(Path(path).as_uri()) == ("", [path])
    assert take_files(Path(path).as_uri().replace("file://", "file://localhost")) == ("", [path])
    assert take_files(path + "\n") == ("", [path])


def test_double_quotes(file: Make) -> None:
    path = file('a "b" $c.png')
    assert take_files('"' + path.replace('"', '\\"').replace("$", "\\$") + '" ?') == ("?", [path])


def test_the_form_that_a_name_has_on_disk_is_found(file: Make) -> None:
    composed, taken_apart = "Café.png", unicodedata.normalize("NFD", "Café.png")
    path = file(composed)
    assert take_files(path.replace(composed, taken_apart))[1] == [path]
    other = file(unicodedata.normalize("NFD", "Übung.png"))
    assert take_files("'./Übung.png'")[1] == [other]


def test_paths_from_here_and_from_home(file: Make) -> None:
    cat, dog = file("cat.png"), file("pets/dog.jpg")
    assert take_files("cat.png") == ("", [cat])
    assert take_files("./cat.png ../" + Path(cat).parent.name + "/pets/dog.jpg") == ("", [cat, dog])
    assert take_files("~/pets/dog.jpg and cat.png") == ("and", [dog, cat])
    assert take_files("pets/dog.jpg") == ("", [dog])


def test_several_in_order_and_what_stays_of_the_text(file: Make) -> None:
    cat, dog, memo = file("cat.png"), file("my dog.png"), file("memo.wav")
    assert take_files(f"{cat} {escaped(dog)} '{memo}'") == ("", [cat, dog, memo])
    assert take_files(f"{cat} compare  with '{dog}', please {memo} ") == (
        "compare  with my dog.png, please",
        [cat, dog, memo],
    )
    assert take_files(f"What is in {cat}?") == ("What is in cat.png?", [cat])
    assert take_files(f"Look ({cat})") == ("Look (cat.png)", [cat])
    assert take_files(f'He said "look at {cat} now"') == ('He said "look at cat.png now"', [cat])


def test_a_path_with_bare_spaces(file: Make) -> None:
    path = file("My Photo 1.png")
    assert take_files(path) == ("", [path])
    assert take_files(f"{path} and then?") == ("and then?", [path])


def test_lines(file: Make) -> None:
    cat, dog = file("cat.png"), file("dog.png")
    assert take_files(f"Look:\n{cat}\n  {dog}\n    if x:\n\ny") == (
        "Look:\n    if x:\n\ny",
        [cat, dog],
    )


@pytest.mark.parametrize(
    "text",
    [
        "/image is nice",
        "/etc/hosts",
        "what does don't.png mean?",
        "and/or.mp3 is no file",
        'What does "plot.png" mean?',
        'plt.savefig("/nowhere/plot.png")',
        "`/nowhere/plot.png`",
        "code:\n    path = '/nowhere/plot.png'\n    go()",
        "C:\\Users\\me\\cat.png",
        "  two  spaces\tand a tab ",
        "'unclosed",
        'say """',
        "",
        "see https://example.org/page for more",
        "http://",
        "https://[::1/a.png is broken",
        "pre-release .png files",
        "e.g. x.ts and y.py",
    ],
)
def test_text_stays_text(file: Make, text: str) -> None:
    assert take_files(text) == (text, [])


@pytest.mark.parametrize(
    "line",
    [
        "/nowhere/cat.png",
        "~/cat.png",
        "./cat.png what is it",
        "../cat.png",
        "file:///nowhere/my%20cat.png",
        "'/nowhere/my cat.png' what",
        "'my cat.png'",
        "my\\ cat.png what",
        "a\n/nowhere/cat.png\nb",
    ],
)
def test_a_path_to_nothing_is_told(file: Make, line: str) -> None:
    with pytest.raises(MediaError, match=r"cat\.png does not exist: check the path, or .*backtick"):
        take_files(line)


def test_a_folder_a_loop_and_another_machine(file: Make, tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(MediaError, match=r"folder\.png is not a file"):
        take_files("./folder.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    with pytest.raises(MediaError, match=r"loop\.png cannot be opened \(.*symbolic links"):
        take_files("./loop.png")
    with pytest.raises(MediaError, match="on another machine"):
        take_files("file://server/share/cat.png")
    with pytest.raises(MediaError, match="cannot be opened"):
        take_files("/nul\0l.png")
    with pytest.raises(MediaError, match="cannot be opened"):
        take_files(f"/{'x' * 5000}.png")


def test_links() -> None:
    cat = "https://example.org/a/Cat_(pet).PNG?width=640#top"
    assert take_files(cat) == ("", [cat])
    assert take_files("http://example.org/picture/17") == ("", ["http://example.org/picture/17"])
    assert take_files("<https://example.org/x>") == ("", ["https://example.org/x"])
    assert take_files(f"What is {cat} about?") == ("What is Cat_(pet).PNG about?", [cat])
    assert take_files("(see https://example.org/b.jpg).") == (
        "(see b.jpg).",
        ["https://example.org/b.jpg"],
    )
    assert take_files("HTTPS://example.org/b.jpg what?") == (
        "what?",
        ["HTTPS://example.org/b.jpg"],
    )


def test_the_time_grows_as_the_text_does(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = 0

    def isfile(path: str) -> bool:
        nonlocal looked
        looked += 1
        return False

    monkeypatch.setattr("os.path.isfile", isfile)
    text = " ".join(["/a 'b \"c.png \\ d/e ~"] * 1000)
    assert take_files(text) == (text, [])
    assert 1000 <= looked <= 10_000


def test_the_argument_of_a_command(file: Make) -> None:
    cat = file("my cat.png")
    assert read_paths(cat) == [cat]
    assert read_paths(f"'{cat}' {escaped(cat)} nothing.png") == [cat, cat, "nothing.png"]
    assert read_paths(Path(cat).as_uri()) == [cat]
    assert read_paths("https://example.org/a.png") == ["https://example.org/a.png"]
    assert read_paths("  ") == []


def test_kinds_by_name() -> None:
    assert [kind_of_name(name) for name in ("a.HEIC", "b.opus", "c.webm", "d.ts", "png")] == [
        *("image", "audio", "video"),
        *(None, None),
    ]
