"""Writing a conversation: for its owner alone, whole or not at all, over nothing else."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gemma4_cli.chat.sessions import private_files
from gemma4_cli.chat.sessions.saved import Saved, is_session, read, write
from gemma4_mlx.errors import InputError
from tests.cli.chat.sessions.conversations import long_talk, media_files, plain


@pytest.fixture
def talk(tmp_path: Path) -> Saved:
    return long_talk(media_files(tmp_path))


def permissions(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_only_the_owner_may_read(talk: Saved, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write(tmp_path / "new" / "talk.json", talk)
    finally:
        os.umask(before)
    assert permissions(tmp_path / "new") == 0o700
    assert permissions(tmp_path / "new" / "talk.json") == 0o600
    media = tmp_path / "new" / "talk.json.media"
    assert permissions(media) == 0o700
    assert {permissions(file) for file in media.iterdir()} == {0o600}


def test_media_that_are_no_longer_shown_go_and_others_stay(talk: Saved, tmp_path: Path) -> None:
    file, media = tmp_path / "talk.json", tmp_path / "talk.json.media"
    write(file, talk)
    (media / "notes.txt").write_text("mine")
    written = {entry: entry.stat().st_mtime_ns for entry in media.iterdir()}
    write(file, talk)
    assert {entry: entry.stat().st_mtime_ns for entry in media.iterdir()} == written
    write(file, Saved("demo", [{"role": "user", "content": "anew"}]))
    assert [entry.name for entry in media.iterdir()] == ["notes.txt"]
    (media / "notes.txt").unlink()
    write(file, Saved("demo", []))
    assert not media.exists()


@pytest.mark.parametrize("content", ["my diary", '{"messages": []}', "[]", "", '{"gemma4_session'])
def test_what_is_no_session_is_not_written_over(tmp_path: Path, content: str) -> None:
    file = tmp_path / "diary.json"
    file.write_text(content)
    assert not is_session(file)
    with pytest.raises(InputError, match="no saved conversation"):
        write(file, Saved("e2b", []))
    assert file.read_text() == content
    write(file, Saved("e2b", []), force=True)
    assert is_session(file)
    write(file, Saved("e4b", []))
    assert read(file)[0].model == "e4b"


def test_a_session_of_another_version_is_a_session(tmp_path: Path) -> None:
    (tmp_path / "talk.json").write_text('{"gemma4_session": 99}')
    assert is_session(tmp_path / "talk.json")
    assert not is_session(tmp_path / "missing.json")
    assert not is_session(tmp_path)


def test_places_that_cannot_be_written(talk: Saved, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    os.mkfifo(tmp_path / "pipe")
    for place in (
        tmp_path,
        tmp_path / "file" / "talk.json",
        tmp_path / "circle",
        tmp_path / "pipe",
    ):
        with pytest.raises(InputError) as caught:
            write(place, talk, force=True)
        assert "\n" not in str(caught.value) and str(place) in str(caught.value)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "talk.json.media").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="link"):
        write(tmp_path / "talk.json", talk)
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_link_to_a_session_stays_a_link(talk: Saved, tmp_path: Path) -> None:
    (tmp_path / "cloud").mkdir()
    (tmp_path / "talk.json").symlink_to(tmp_path / "cloud" / "talk.json")
    write(tmp_path / "talk.json", talk)
    assert (tmp_path / "talk.json").is_symlink()
    assert plain(read(tmp_path / "talk.json")[0].messages) == plain(talk.messages)


@pytest.mark.parametrize(
    ("messages", "place"),
    [
        ([{"role": "user", "content": "a", "mood": 1}], "mood"),
        ([{"role": "user", "content": [{"type": "image", "image": 7}]}], "messages[0].content[0]"),
        ([{"role": "user", "content": "half \ud800"}], "messages[0].content"),
        (
            [{"role": "user", "content": [{"type": "audio", "audio": np.zeros((2, 9))}]}],
            "messages[0].content[0]",
        ),
    ],
)
def test_what_could_not_be_read_again_is_not_written(
    tmp_path: Path, messages: Any, place: str
) -> None:
    write(tmp_path / "talk.json", Saved("e2b", []))
    before = (tmp_path / "talk.json").read_bytes()
    with pytest.raises(InputError) as caught:
        write(tmp_path / "talk.json", Saved("e2b", messages))
    assert place in str(caught.value)
    assert (tmp_path / "talk.json").read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["talk.json"]


@pytest.mark.parametrize("with_media", [True, False])
def test_a_full_disk_leaves_the_old_file(
    talk: Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_media: bool
) -> None:
    file = tmp_path / "talk.json"
    write(file, Saved("e2b", []))
    before = file.read_bytes()

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(private_files.os, "fsync", full)
    with pytest.raises(InputError, match="No space left on device"):
        write(file, talk if with_media else Saved("e2b", talk.messages[:1]))
    assert file.read_bytes() == before
    assert not list(tmp_path.rglob(".*"))


def test_killed_in_the_middle_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "talk.json"
    write(file, Saved("e2b", [{"role": "user", "content": "old"}]))
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from gemma4_cli.chat.sessions.saved import Saved, write\n"
        "os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"
        "write(Path(sys.argv[1]), Saved('e2b', [{'role': 'user', 'content': 'new'}]))\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(file)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert read(file)[0].messages[0]["content"] == "old"
    assert is_session(file)
