"""The conversations that are kept unasked, for ``--continue``."""

import os
import stat
from pathlib import Path

import pytest

from gemma4_cli.chat.sessions.folder import KEPT
from gemma4_cli.chat.sessions.saved import Saved, last_session, session_file, write
from gemma4_mlx.errors import InputError
from tests.cli.chat.sessions.conversations import recording


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "gemma4" / "sessions"


def test_the_last_session_is_the_one_written_last(state: Path) -> None:
    assert last_session() is None
    first, second = session_file(), session_file()
    assert first != second and first.parent == second.parent == state
    assert not state.exists(), "nothing was said yet"
    write(second, Saved("e2b", []))
    write(first, Saved("e4b", []))
    os.utime(second, (1, 1))
    assert last_session() == first
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    (state / "my own.json").write_text("{}")
    assert last_session() == first


def test_so_many_sessions_are_kept(state: Path) -> None:
    files = []
    for number in range(KEPT + 3):
        files.append(state / f"2026-01-01-000000-{number:06d}.json")
        part = {"type": "audio", "audio": recording(number, 8)}
        write(files[-1], Saved("e2b", [{"role": "user", "content": [part]}]))
        for entry in (files[-1], state / f"{files[-1].name}.media"):
            os.utime(entry, (number, number))
    half = state / "2026-01-01-000000-999999.json.media"  # its program was killed
    files[5].with_name(f"{files[5].name}.media").rename(half)
    os.utime(half, (0, 0))
    (state / "mine.json").write_text("kept by hand")

    write(session_file(), Saved("e2b", []))

    assert sum(1 for _ in state.glob("20*.json")) == KEPT
    left = {entry.name for entry in state.iterdir()}
    assert "mine.json" in left and half.name not in left
    assert not {files[3].name, f"{files[3].name}.media"} & left
    assert {files[4].name, f"{files[4].name}.media"} <= left


def test_what_killed_programs_leave_behind_goes_in_the_end(state: Path) -> None:
    file = session_file()
    part = {"type": "audio", "audio": recording(1, 8)}
    write(file, Saved("e2b", [{"role": "user", "content": [part]}]))
    media = state / f"{file.name}.media"
    old = [state / f".{file.name}.ab_12345", media / f".{'0' * 64}.wav.ab_12345"]
    new = [state / f".{file.name}.cd_67890", media / f".{'0' * 64}.wav.cd_67890"]
    for half in old + new:
        half.write_text("half")
    for half in old:
        os.utime(half, (1, 1))
    write(file, Saved("e2b", [{"role": "user", "content": [part]}]))
    session_file()
    assert not any(half.exists() for half in old)
    assert all(half.exists() for half in new), "these may be being written"


def test_a_folder_that_cannot_be_used_is_told_when_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert last_session() is None
    with pytest.raises(InputError, match="cannot be written"):
        write(session_file(), Saved("e2b", []))
