"""A conversation as a Markdown document: /export.

A heading for each turn, attachments as links, thoughts folded away, function calls and their
results in code blocks. Replies are Markdown already and stand as they are, except that a code block
or a fold which a reply leaves open is closed, or it would swallow what follows.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gemma4_cli.chat.sessions.private_files import write_private
from gemma4_cli.chat.sessions.saved import Saved
from gemma4_cli.chat.sessions.saved_media import Keeper, media_folder, part_name
from gemma4_mlx.errors import InputError

# How a medium is linked, from its part; None: it has no file.
Link = Callable[[Mapping[str, Any]], str | None]

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")
_MEDIA = {"image": "picture", "audio": "recording", "video": "video"}
_HEADINGS = {"system": "System", "developer": "System", "user": "You"}
_CONTROLS = dict.fromkeys(
    code for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"
)


def export(file: Path, saved: Saved, force: bool = False) -> None:
    """Write the document for its owner alone, whole or not at all.

    Media that came from no file are put into ``FILE.md.media`` and linked there. Raises InputError
    when the file cannot be written, or exists and ``force`` is not given.
    """
    try:
        target = Path(file).expanduser().resolve()
        if target.exists() and not (force and target.is_file()):
            raise InputError(f"{target} is there already: choose another name")
        keeper = Keeper(media_folder(target))
        text = markdown(saved, lambda part: _kept_link(keeper, part))
        target.parent.mkdir(parents=True, exist_ok=True)
        keeper.write()
        write_private(target, lambda output: output.write(text.encode("utf-8", "replace")))
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{file} cannot be written ({reason}): choose another place") from None
    keeper.tidy()


def markdown(saved: Saved, link: Link | None = None) -> str:
    """The document; ``link`` gives the address of a medium, by default the path it came from."""
    model = Path(saved.model).name
    blocks = [f"# Conversation with {_escaped(model)}"]
    before = None
    for message in saved.messages:
        role = message["role"]
        heading = _HEADINGS.get(role, model)
        if heading != before and role != "tool":
            blocks.append(f"## {_escaped(heading)}")
            before = heading
        blocks += _blocks(message, link or _path)
    return "\n\n".join(block.strip("\n") for block in blocks if block.strip()) + "\n"


def _blocks(message: Mapping[str, Any], link: Link) -> list[str]:
    content = message.get("content")
    if message["role"] == "tool":
        name = _escaped(str(message.get("name") or "the function"))
        if isinstance(content, list):
            return [f"Result of {name}:", *_parts(content, link)]
        return [f"Result of {name}:", _result(content)]
    blocks = []
    if message.get("reasoning"):
        thought = _closed(message["reasoning"])
        blocks.append(f"<details>\n<summary>Thought</summary>\n\n{thought}\n\n</details>")
    if isinstance(content, str):
        blocks.append(_closed(content))
    elif content:
        blocks += _parts(content, link)
    for call in message.get("tool_calls") or ():
        function = call["function"]
        arguments = json.dumps(function.get("arguments") or {}, ensure_ascii=False, indent=2)
        blocks.append(f"Calls {_escaped(function['name'])}:")
        blocks.append(_fenced(arguments, "json"))
    return blocks


def _parts(parts: Sequence[Mapping[str, Any]], link: Link) -> list[str]:
    return [
        _closed(part["text"]) if part["type"] == "text" else _attachment(part, link)
        for part in parts
    ]


def _attachment(part: Mapping[str, Any], link: Link) -> str:
    kind, name = part["type"], _escaped(part_name(part))
    address = link(part)
    if address is None:
        return f"*{_MEDIA[kind]}: {name}*" if name != _MEDIA[kind] else f"*{name}*"
    return f"![{name}]({address})" if kind == "image" else f"[{_MEDIA[kind]}: {name}]({address})"


def _path(part: Mapping[str, Any]) -> str | None:
    path = part.get("file", {}).get("path")
    return quote(path, errors="surrogateescape") if path else None


def _kept_link(keeper: Keeper, part: Mapping[str, Any]) -> str | None:
    """The path a medium came from; where that has none or changed, its place by the document."""
    told = keeper.put(dict(part), f"the {_MEDIA[part['type']]}")
    if "kept" in told:
        return f"{quote(keeper.folder.name, errors='surrogateescape')}/{told['kept']}"
    return _path(told)


def _result(content: Any) -> str:
    """What a function gave: JSON laid out, or text as it is."""
    if isinstance(content, str):
        try:
            content = json.loads(content)
        except (ValueError, RecursionError):
            return _fenced(content)
    return _fenced(json.dumps(content, ensure_ascii=False, indent=2), "json")


def _fenced(text: str, language: str = "") -> str:
    """A code block, with a fence longer than any in the text."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{_plain(text)}\n{fence}"


def _closed(text: str) -> str:
    """Text that is Markdown, with its code blocks closed and its folds harmless."""
    lines, fence = [], ""
    for line in _plain(text).split("\n"):
        found = _FENCE.fullmatch(line)
        if fence:
            if found and found[1].startswith(fence) and not found[2].strip():
                fence = ""
        elif found and not (found[1][0] == "`" and "`" in found[2]):
            fence = found[1]
        else:
            line = re.sub(r"<(?=/?(details|summary)\b)", "&lt;", line, flags=re.IGNORECASE)
        lines.append(line)
    return "\n".join([*lines, fence] if fence else lines)


def _escaped(text: str) -> str:
    """Text in a heading or a link, where Markdown's signs would mean something."""
    one_line = " ".join(_plain(text).split())
    return re.sub(r"([\\`*_\[\]<>#|!])", r"\\\1", one_line)


def _plain(text: str) -> str:
    """Without control characters, which no document needs and which a terminal obeys."""
    return text.translate(_CONTROLS)
