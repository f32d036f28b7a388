"""What source and result are compared on: a text, and replies to what they see and hear.

A text is read as it is, after ``<bos>`` and without the chat template, and every token of it
counts. In an exchange the prompt is rendered as for a chat and only the reply counts: what a model
would say inside the user's turn is nobody's concern. The bundled samples are in ``data/``.
"""

import tomllib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np

from gemma4_mlx.config import Gemma4Config, Modality
from gemma4_mlx.errors import CheckpointError, InputError
from gemma4_mlx.processing.processor import Processor
from gemma4_mlx.speech.prompts import speech_prompt

TEXT, PICTURES, RECORDINGS = "text", "pictures", "recordings"
KINDS = (TEXT, PICTURES, RECORDINGS)

# Long enough to leave every sliding window, short enough for the hidden states of ten models.
WINDOW = 1024
MOST_TOKENS = 8 * WINDOW


@dataclass(frozen=True)
class Sample:
    """One prompt with what follows it.

    ``inputs`` are those of the model, for one row. The predictions compared are those of the
    tokens after position ``first``.
    """

    kind: str
    inputs: Mapping[str, mx.array]
    first: int

    @property
    def targets(self) -> np.ndarray:
        """The tokens that are predicted (T,)."""
        return np.array(self.inputs["input_ids"])[0, self.first + 1 :]

    @property
    def modalities(self) -> frozenset[Modality]:
        """The media in it."""
        types = np.array(self.inputs["mm_token_type_ids"])
        return frozenset(modality for modality in Modality if (types == modality).any())


def read_text(file: Path) -> str:
    """The user's own text. InputError when there is none to read."""
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"{file} cannot be read ({error.strerror}): name a text file for the comparison"
        ) from None
    except UnicodeDecodeError:
        raise InputError(f"{file} is not text in UTF-8: name a text file") from None
    if not text.strip():
        raise InputError(f"{file} is empty: the comparison needs some text")
    return text


def open_processor(path: Path, config: Gemma4Config) -> Processor:
    """The processor of a checkpoint; CheckpointError without a tokenizer to read texts with."""
    if not (path / "tokenizer.json").is_file():
        raise CheckpointError(
            f"{path} has no tokenizer.json, and a report compares what the models make of a text: "
            "copy it from the original checkpoint, or convert without a report"
        )
    return Processor.from_dir(path, config)


def make_samples(processor: Processor, text: str | None) -> tuple[list[Sample], list[str]]:
    """The samples, and what to say about them.

    With a ``text`` of one's own the bundled text and chats are left out, pictures and recordings
    are not.
    """
    notes: list[str] = []
    if text is None:
        samples = list(text_samples(processor, _data().joinpath("text.txt").read_text("utf-8")))
    else:
        ids = processor.tokenizer.encode_text(text)
        if not ids:
            raise InputError("the text to compare on is empty, expected at least a few words")
        first = f"the first {MOST_TOKENS:,} of " if len(ids) > MOST_TOKENS else ""
        notes.append(f"the text is not the bundled one: {first}{len(ids):,} tokens were given")
        samples = list(text_samples(processor, text))
    exchanges = tomllib.loads(_data().joinpath("exchanges.toml").read_text("utf-8"))["exchange"]
    for exchange in exchanges:
        if exchange["on"] == TEXT and text is not None:
            continue
        if exchange["on"] == PICTURES and processor.config.vision is None:
            continue
        if exchange["on"] == RECORDINGS and processor.config.audio is None:
            continue
        samples.append(_exchange(processor, exchange))
    return samples, notes


def text_samples(processor: Processor, text: str) -> Iterator[Sample]:
    """Plain text after ``<bos>``, in windows."""
    ids = processor.tokenizer.encode_text(text)[:MOST_TOKENS]
    bos = processor.tokenizer.token_id("<bos>")
    room = min(WINDOW, processor.config.text.max_position_embeddings) - 1
    for start in range(0, len(ids), room):
        yield Sample(TEXT, _inputs({}, [bos, *ids[start : start + room]]), first=0)


def reply_sample(
    processor: Processor, kind: str, content: list[dict[str, Any]], reply: str
) -> Sample:
    """A question of text and media, and the reply that is given to it."""
    prompt = processor([{"role": "user", "content": content}])
    tokenizer = processor.tokenizer
    ids = [*tokenizer.encode_text(reply), tokenizer.token_id("<turn|>")]
    return Sample(kind, _inputs(prompt, ids), first=prompt["input_ids"].shape[1] - 1)


def _exchange(processor: Processor, exchange: Mapping[str, str]) -> Sample:
    """One entry of exchanges.toml."""
    content = [{"type": "text", "text": exchange.get("ask") or speech_prompt("English")}]
    with ExitStack() as stack:
        for kind in ("image", "audio"):
            if kind in exchange:
                file = stack.enter_context(as_file(_data().joinpath(exchange[kind])))
                content = [{"type": kind, kind: str(file)}, *content]
        return reply_sample(processor, exchange["on"], content, exchange["reply"])


def _inputs(prompt: Mapping[str, mx.array], ids: list[int]) -> dict[str, mx.array]:
    """The inputs of a prompt that ``ids`` of text follow, or of these alone."""
    row = mx.array([ids], dtype=mx.int32)
    text = {"input_ids": row, "mm_token_type_ids": mx.zeros_like(row)}
    joined = {
        name: mx.concatenate([prompt[name], more], axis=1) if prompt else more
        for name, more in text.items()
    }
    return {**prompt, **joined}


def _data() -> Any:
    return files("gemma4_convert.report") / "data"
