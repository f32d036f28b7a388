"""Holding the media of a conversation decoded, so that no file is read again in a later turn."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from gemma4_mlx.processing.messages import read_messages

Message = Mapping[str, Any]


def hold_media(messages: Sequence[Message], sampling_rate: int) -> tuple[list[Message], list[str]]:
    """The messages with pictures and recordings given by path read into memory.

    Returns them and a line for each thing that was changed in reading (resampled, mixed down). What
    else a part says, such as where it came from, stays in it.
    Videos stay paths: their frames are chosen when the prompt is made. Raises MediaError, and
    InputError for messages the processor would refuse: reading a part keeps one source of it.
    """
    read_messages(messages)
    notices: list[str] = []
    held: list[Message] = []
    for message in messages:
        content = message.get("content")
        if isinstance(content, Sequence) and not isinstance(content, str):
            parts = [_held(part, sampling_rate, notices) for part in content]
            message = {**message, "content": parts}
        held.append(message)
    return held, notices


def _held(part: Any, sampling_rate: int, notices: list[str]) -> Any:
    if not isinstance(part, Mapping):
        return part
    kind = part.get("type")
    source = next((part[key] for key in (kind, "path", "url") if part.get(key) is not None), None)
    if not isinstance(source, str | os.PathLike | bytes):
        return part
    rest = {key: value for key, value in part.items() if key not in (kind, "path", "url")}
    # What reads pictures and sound is imported with the first of them: text needs none of it.
    if kind == "image":
        from gemma4_mlx.processing.images import load_image

        return {**rest, "image": load_image(source, notices)}
    if kind == "audio":
        from gemma4_mlx.processing.waveform import load_waveform

        waveform = load_waveform(source, sampling_rate)
        notices += waveform.notices
        return {**rest, "audio": waveform.samples}
    return part
