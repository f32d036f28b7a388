"""Conversations as Markdown documents."""

import hashlib
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from gemma4_cli.chat.sessions.export import export, markdown
from gemma4_cli.chat.sessions.saved import Saved
from gemma4_mlx.errors import InputError


def test_a_whole_conversation() -> None:
    file = {"path": "/home/jo/Bilder/Katze (1).png", "sha256": "0" * 64}
    call = {"id": "1", "type": "function", "function": {"name": "look_up", "arguments": {"q": "ß"}}}
    saved = Saved(
        "models/e2b",
        [
            {"role": "system", "content": "Be *brief*."},
            {
                "role": "user",
                "content": [
                    {"type": "image", "image": None, "file": file},
                    {"type": "audio", "audio": None, "file": {**file, "path": "/home/jo/memo.wav"}},
                    {"type": "audio", "audio": None, "name": "microphone, 3.2 s"},
                    {"type": "text", "text": "What is it?"},
                ],
            },
            {"role": "assistant", "content": "", "reasoning": "A cat?", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "1", "name": "look_up", "content": '{"a": [1]}'},
            {"role": "assistant", "content": "A **cat**.\n\n| a | b |\n|---|---|\n| 1 | 2 |"},
        ],
    )
    assert (
        markdown(saved)
        == """\
# Conversation with e2b

## System

Be *brief*.

## You

![Katze (1).png](/home/jo/Bilder/Katze%20%281%29.png)

[recording: memo.wav](/home/jo/memo.wav)

*recording: microphone, 3.2 s*

What is it?

## e2b

<details>
<summary>Thought</summary>

A cat?

</details>

Calls look\\_up:

```json
{
  "q": "ß"
}
```

Result of look\\_up:

```json
{
  "a": [
    1
  ]
}
```

A **cat**.

| a | b |
|---|---|
| 1 | 2 |
"""
    )


def body(text: str, **keys: Any) -> str:
    return markdown(Saved("e2b", [{"role": "assistant", "content": text, **keys}]))


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("```python\nx = 1", "```python\nx = 1\n```\n"),
        ("~~~~\n```\n~~~", "~~~~\n```\n~~~\n~~~~\n"),
        ("```\nclosed\n```\nafter", "```\nclosed\n```\nafter\n"),
        ("````\n```\n````", "````\n```\n````\n"),
        ("an ```inline``` block", "an ```inline``` block\n"),
        ("```a`b\nno fence", "```a`b\nno fence\n"),
    ],
)
def test_a_code_block_that_a_reply_leaves_open_is_closed(text: str, end: str) -> None:
    assert body(text) == f"# Conversation with e2b\n\n## e2b\n\n{end}"


def test_a_thought_stays_within_its_fold() -> None:
    text = body("yes", reasoning="so </details> <Summary> 1 < 2\n```\n</details> in code")
    thought = text.partition("Thought</summary>")[2].partition("\n</details>\n\nyes")[0]
    assert "so &lt;/details> &lt;Summary> 1 < 2" in thought
    assert thought.rstrip().endswith("</details> in code\n```")


def test_results_with_fences_and_results_that_are_no_json() -> None:
    message = {"role": "tool", "name": "read", "content": "a\n````\nb"}
    assert "`````\na\n````\nb\n`````" in markdown(Saved("e2b", [message]))
    assert "```json\n3\n```" in markdown(Saved("e2b", [{**message, "content": 3}]))


def test_names_are_no_markdown_and_no_commands_of_a_terminal() -> None:
    part = {"type": "image", "image": None, "name": "a](http://evil)\n# b <b> \x1b[2J"}
    text = markdown(Saved("e2b", [{"role": "user", "content": [part]}]))
    assert "*picture: a\\](http://evil) \\# b \\<b\\> \\[2J*" in text
    assert "\x1b" not in body("hi \x1b]52;c;\x07")


def test_media_without_a_file_are_put_beside_the_document(tmp_path: Path) -> None:
    Image.new("RGB", (4, 3), "red").save(tmp_path / "red.png")
    sha256 = hashlib.sha256((tmp_path / "red.png").read_bytes()).hexdigest()
    here = {"path": str(tmp_path / "red.png"), "sha256": sha256}
    gone = {"path": str(tmp_path / "gone.png"), "sha256": "0" * 64}
    samples = np.array([0.5, -0.25], np.float32)
    content = [
        {"type": "image", "image": Image.new("RGB", (4, 3), "red"), "file": here},
        {"type": "image", "image": Image.new("RGB", (4, 3), "blue"), "file": gone},
        {"type": "audio", "audio": samples, "name": "microphone"},
        {"type": "video", "video": gone["path"], "file": gone},
    ]
    target = tmp_path / "a talk.md"
    export(target, Saved("e2b", [{"role": "user", "content": content}]))

    media = tmp_path / "a talk.md.media"
    picture, sound = sorted(media.iterdir(), key=lambda file: file.suffix)
    lines = [line for line in target.read_text().splitlines() if "](" in line]
    assert lines == [
        f"![red.png]({tmp_path}/red.png)",
        f"![gone.png](a%20talk.md.media/{picture.name})",
        f"[recording: microphone](a%20talk.md.media/{sound.name})",
        f"[video: gone.png]({tmp_path}/gone.png)",
    ]
    assert Image.open(picture).getpixel((0, 0)) == (0, 0, 255)
    assert soundfile.read(sound, dtype="float32")[0].tolist() == samples.tolist()
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_nothing_is_written_over_unasked(tmp_path: Path) -> None:
    file = tmp_path / "notes.md"
    file.write_text("mine")
    with pytest.raises(InputError, match="there already"):
        export(file, Saved("e2b", []))
    assert file.read_text() == "mine"
    export(file, Saved("e2b", []), force=True)
    assert file.read_text() == "# Conversation with e2b\n"
    for place in (tmp_path, file / "inside.md", Path(os.devnull)):
        with pytest.raises(InputError) as caught:
            export(place, Saved("e2b", []), force=True)
        assert "\n" not in str(caught.value)
