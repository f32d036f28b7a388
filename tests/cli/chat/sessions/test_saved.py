"""Conversations written and read again: equal to the bit, and what goes if a file has."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import soundfile

from gemma4_cli.chat.sessions.saved import Saved, read, write
from tests.cli.chat.sessions.conversations import (
    from_file,
    long_talk,
    media_files,
    picture,
    plain,
    recording,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return media_files(tmp_path)


@pytest.fixture
def talk(folder: Path) -> Saved:
    return long_talk(folder)


def stand_ins(saved: Saved) -> list[str]:
    return [
        part["text"]
        for message in saved.messages
        if isinstance(message["content"], list)
        for part in message["content"]
        if part["type"] == "text" and part["text"].startswith("[")
    ]


# --- there and back ------------------------------------------------------------------------------


def test_a_conversation_comes_back_as_it_was(talk: Saved, tmp_path: Path) -> None:
    file = tmp_path / "gespräch.json"
    write(file, talk)
    found, notices = read(file)
    assert notices == []
    assert plain(found.messages) == plain(talk.messages)
    assert (found.model, found.settings) == (talk.model, talk.settings)
    assert [part["type"] for part in found.messages[1]["content"]] == (
        [*["image", "audio"] * 2, "video", "image", "image", "text"]
    )


def test_what_was_read_can_be_written_and_is_the_same_file(talk: Saved, tmp_path: Path) -> None:
    one, two = tmp_path / "one.json", tmp_path / "two.json"
    write(one, talk)
    write(two, read(one)[0])
    assert one.read_bytes() == two.read_bytes()
    kept = sorted(file.name for file in (tmp_path / "one.json.media").iterdir())
    assert kept == sorted(file.name for file in (tmp_path / "two.json.media").iterdir())
    assert [name[64:] for name in kept].count(".png") == 2
    assert [name[64:] for name in kept].count(".wav") == 1


def test_the_file_is_text_for_people(talk: Saved, tmp_path: Path) -> None:
    write(tmp_path / "talk.json", talk)
    text = (tmp_path / "talk.json").read_text(encoding="utf-8")
    assert "日本語も" in text and "Katze über Bord 猫.png" in text
    assert '"token_ids": [2, 0, 262143]' in text
    assert "\x1b" not in text


def test_a_conversation_not_begun_and_one_before_a_reply(tmp_path: Path) -> None:
    for messages in ([], [{"role": "user", "content": "hello"}]):
        write(tmp_path / "talk.json", Saved("e2b", messages))
        assert read(tmp_path / "talk.json") == (Saved("e2b", messages, {}), [])


def test_a_path_that_is_not_utf8(tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"caf\xe9.png")
    try:
        picture(1).save(tmp_path / "plain.png")
        (tmp_path / "plain.png").rename(odd)
    except OSError:  # Apple's file systems have UTF-8 names only
        odd = tmp_path / "plain.png"
    messages = [{"role": "user", "content": [from_file("image", odd)]}]
    write(tmp_path / "talk.json", Saved("e2b", messages))
    found, notices = read(tmp_path / "talk.json")
    assert not notices and plain(found.messages) == plain(messages)


def test_a_path_in_place_of_a_medium_is_read_and_hashed(folder: Path, tmp_path: Path) -> None:
    part = {"type": "image", "image": str(folder / "photo.jpg")}
    write(tmp_path / "talk.json", Saved("e2b", [{"role": "user", "content": [part]}]))
    found, _ = read(tmp_path / "talk.json")
    expected = [from_file("image", folder / "photo.jpg")]
    assert plain(found.messages[0]["content"]) == plain(expected)


def test_the_same_picture_twice_is_read_once(folder: Path, tmp_path: Path) -> None:
    part = from_file("image", folder / "photo.jpg")
    write(tmp_path / "talk.json", Saved("e2b", [{"role": "user", "content": [part, part]}]))
    first, second = read(tmp_path / "talk.json")[0].messages[0]["content"]
    assert first["image"] is second["image"]


# --- files that changed --------------------------------------------------------------------------


def test_a_file_that_changed_after_it_was_sent_is_kept(talk: Saved, tmp_path: Path) -> None:
    """The conversation holds the old picture; the file may hold whatever it likes by now."""
    (tmp_path / "media" / "photo.jpg").write_bytes(b"another")
    (tmp_path / "media" / "memo.wav").unlink()
    write(tmp_path / "talk.json", talk)
    found, notices = read(tmp_path / "talk.json")
    assert notices == []
    assert plain(found.messages) == plain(talk.messages)


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda file: file.unlink(), "the file has gone"),
        (lambda file: file.write_bytes(file.read_bytes() + b"\0"), "the file has changed"),
        (lambda file: (file.unlink(), file.mkdir()), "it is no file"),
        (lambda file: (file.unlink(), os.mkfifo(file)), "it is no file"),
    ],
    ids=["gone", "changed", "folder", "pipe"],
)
def test_a_file_that_is_not_what_it_was(
    talk: Saved, folder: Path, tmp_path: Path, harm: Any, told: str
) -> None:
    write(tmp_path / "talk.json", talk)
    for name in ("Katze über Bord 猫.png", "memo.wav", "film.mp4"):
        harm(folder / name)
    found, notices = read(tmp_path / "talk.json")
    assert stand_ins(found) == [
        f"[picture Katze über Bord 猫.png: {told}]",
        f"[recording memo.wav: {told}]",
        f"[video film.mp4: {told}]",
    ]
    assert [line.partition(":")[0] for line in notices] == [
        f"messages[1].content[{index}]" for index in (0, 1, 4)
    ]
    assert all(told in line and "\n" not in line for line in notices)
    assert len(found.messages[1]["content"]) == len(talk.messages[1]["content"])
    write(tmp_path / "again.json", found)  # and that is a conversation too
    assert plain(read(tmp_path / "again.json")[0].messages) == plain(found.messages)


@pytest.mark.parametrize("harm", ["gone", "other pixels", "no picture"])
def test_kept_media_that_are_not_what_they_were(talk: Saved, tmp_path: Path, harm: str) -> None:
    write(tmp_path / "talk.json", talk)
    for file in (tmp_path / "talk.json.media").iterdir():
        if harm == "gone":
            file.unlink()
        elif harm == "no picture":
            file.write_bytes(b"nothing")
        elif file.suffix == ".png":
            picture(99).save(file)
        else:
            soundfile.write(file, recording(99), 16000, subtype="FLOAT")
    found, notices = read(tmp_path / "talk.json")
    assert [text.partition(":")[0] for text in stand_ins(found)] == [
        "[picture the clipboard's picture",
        "[recording microphone, 0.1 s",
        "[picture https",
    ]
    assert len(notices) == 3


def test_a_file_that_may_not_be_read(
    folder: Path, talk: Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "talk.json", talk)
    os.utime(folder / "photo.jpg", (1, 1))  # so that it is opened again

    def refuse(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(hashlib, "file_digest", refuse)
    found, (line,) = read(tmp_path / "talk.json")
    assert "messages[1].content[5]: the file cannot be read (Permission denied)" in line
    assert len(stand_ins(found)) == 1


def test_names_are_harmless_on_a_terminal(folder: Path, tmp_path: Path) -> None:
    evil = folder / "a\x1b[2Jb\nc.png"
    picture(1).save(evil)
    messages = [{"role": "user", "content": [from_file("image", evil)]}]
    write(tmp_path / "talk.json", Saved("e2b", messages))
    evil.unlink()
    found, (line,) = read(tmp_path / "talk.json")
    assert line.isprintable()
    assert stand_ins(found) == ["[picture a?[2Jb?c.png: the file has gone]"]


def test_the_module_is_light() -> None:
    program = "import sys, gemma4_cli.chat.sessions.saved; print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert not {"numpy", "PIL", "soundfile", "mlx"} & set(done.stdout.split())


def test_json_of_python_reads_the_file(talk: Saved, tmp_path: Path) -> None:
    write(tmp_path / "talk.json", talk)
    found = json.loads((tmp_path / "talk.json").read_bytes())
    assert list(found) == ["gemma4_session", "model", "settings", "messages"]
    assert found["messages"][1]["content"][-1] == talk.messages[1]["content"][-1]
